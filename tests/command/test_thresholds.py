"""Other thresholds than those of the bundle."""

import numpy as np
import pytest
import typer

from tagloom.thresholds import overridden

LABELS = ["dog", "cat", "salt, pepper", "a=b"]
OWN = np.array([0.5, 0.25, 0.75, 0.1])


@pytest.mark.parametrize(
    "changes, expected",
    [
        ([], OWN),
        (["0.3"], [0.3] * 4),
        (["dog=0.2,cat=0.6"], [0.2, 0.6, 0.75, 0.1]),
        (["dog=0.2", "cat=1"], [0.2, 1, 0.75, 0.1]),
        (["dog=0.2, 0.3"], [0.2, 0.3, 0.3, 0.3]),
        (["salt, pepper=0"], [0.5, 0.25, 0, 0.1]),
        (["a=b=1e-3"], [0.5, 0.25, 0.75, 0.001]),
    ],
)
def test_a_number_is_for_all_and_named_labels_win(changes: list[str], expected: np.ndarray):
    before = OWN.copy()
    assert (overridden(OWN, LABELS, changes) == expected).all()
    assert (before == OWN).all()


@pytest.mark.parametrize(
    "change, said",
    [
        ("Dgo=0.2", "no label 'Dgo'; did you mean 'dog'"),
        ("zebra=0.2", "no label 'zebra'; it has dog, cat, salt, pepper, a=b"),
        ("dog", "'dog' is neither a number from 0 to 1"),
        ("dog=", "'dog=' is neither"),
        ("1.5", "'1.5' is neither"),
        ("dog=nan", "'dog=nan' is neither"),
        ("", "'' is neither"),
        ("0.5,", "'' is neither"),
    ],
)
def test_what_is_no_threshold_is_told(change: str, said: str):
    with pytest.raises(typer.BadParameter, match=said):
        overridden(OWN, LABELS, [change])

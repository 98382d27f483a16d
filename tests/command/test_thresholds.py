"""Other thresholds than those of the bundle."""

import numpy as np
import pytest
import typer

from tagloom.thresholds import overridden

LABELS = ["dog", "cat", "salt, pepper", "a=b"]
BUNDLE = np.array([0.5, 0.25, 0.75, 0.1])


@pytest.mark.parametrize(
    "changes, expected",
    [
        ([], BUNDLE),
        (["0.3"], [0.3] * 4),
        (["dog=0.2,cat=0.6"], [0.2, 0.6, 0.75, 0.1]),
        (["dog=0.2", "cat=1"], [0.2, 1, 0.75, 0.1]),
        (["dog=0.2, 0.3"], [0.2, 0.3, 0.3, 0.3]),
        (["salt, pepper=0"], [0.5, 0.25, 0, 0.1]),
        (["a=b=1e-3"], [0.5, 0.25, 0.75, 0.001]),
    ],
)
def test_a_number_is_for_all_and_named_labels_win(changes: list[str], expected: np.ndarray):
    before = BUNDLE.copy()
    assert (overridden(BUNDLE, LABELS, changes) == expected).all()
    assert (before == BUNDLE).all()


@pytest.mark.parametrize("name", ["Mädchen", "Ma\u0308dchen"])
@pytest.mark.parametrize("typed", ["Mädchen", "Ma\u0308dchen", " Ma\u0308dchen "])
def test_a_label_is_meant_however_it_is_typed(name: str, typed: str):
    assert overridden(BUNDLE[:2], ["dog", name], [f"{typed}=0.3"]).tolist() == [0.5, 0.3]


@pytest.mark.parametrize(
    "change, hint",
    [
        ("Dgo=0.2", "'Dgo'; did you mean 'dog'"),
        ("zebra=0.2", "'zebra'; it has dog, cat, salt, pepper, a=b"),
        ("dog", "'dog' .* number from 0 to 1"),
        ("dog=", "'dog='"),
        ("1.5", "'1.5'"),
        ("dog=nan", "'dog=nan'"),
        ("", "''"),
        ("0.5,", "''"),
    ],
)
def test_what_is_no_threshold_is_named(change: str, hint: str):
    with pytest.raises(typer.BadParameter, match=hint):
        overridden(BUNDLE, LABELS, [change])

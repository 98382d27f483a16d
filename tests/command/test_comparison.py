"""Two models' answers, added up."""

import numpy as np
import pytest

from stages.metrics import micro_f1
from tagloom.comparison import Comparison, Difference
from tagloom.inputs import label_list

ONE, OTHER = ["dog", "cat", "bus"], ["cat", "dog", "cup"]


def answers(rows: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    generator = np.random.default_rng(seed)
    probabilities = [generator.random((rows, 3), np.float32) for _ in range(2)]
    return [(each, each >= 0.5) for each in probabilities]


def test_labels_are_matched_by_name():
    one = np.array([[0.9, 0.1, 0.8], [0.2, 0.7, 0.1]], np.float32)
    other = np.array([[0.2, 0.6, 0.9], [0.9, 0.7, 0.9]], np.float32)
    comparison = Comparison(ONE, OTHER, 2)
    comparison.add(["a", "b"], [None] * 2, [None] * 2, [(one, one >= 0.5), (other, other >= 0.5)])
    assert comparison.shared == ["dog", "cat"]
    assert (comparison.photos, comparison.alike) == (2, 1)
    assert comparison.counts.tolist() == [[1, 1], [2, 1]]
    assert comparison.both.tolist() == [1, 1]
    assert comparison.unshared == [{"bus": 1}, {"cup": 2}]
    assert comparison.differences == [
        Difference(pytest.approx(0.5), "b", "dog", pytest.approx(0.2), pytest.approx(0.7)),
        Difference(pytest.approx(0.3), "a", "dog", pytest.approx(0.9), pytest.approx(0.6)),
    ]
    assert comparison.quality() is None


def test_parts_add_up_to_the_whole():
    whole, parts = Comparison(ONE, ONE, 5), Comparison(ONE, ONE, 5)
    (one, one_holds), (other, other_holds) = answers(20, 0)
    truth = [["dog"], None, ["cat", "yak"], []] * 5
    names = [str(n) for n in range(20)]
    whole.add(names, truth, [None] * 20, [(one, one_holds), (other, other_holds)])
    for start in range(0, 20, 6):
        part = slice(start, start + 6)
        parts.add(
            names[part], truth[part], [None] * len(names[part]),
            [(one[part], one_holds[part]), (other[part], other_holds[part])],
        )  # fmt: skip
    assert parts.differences == whole.differences
    assert (parts.counts == whole.counts).all()
    assert parts.alike == whole.alike
    assert parts.quality() == whole.quality()
    known = [row for row, labels in enumerate(truth) if labels is not None]
    matrix = np.array([[label in truth[row] for label in ONE] for row in known])
    quality = whole.quality()
    assert quality.photos == 15
    assert quality.one == micro_f1(matrix, one_holds[known])
    assert quality.gain["value"] == pytest.approx(quality.other - quality.one)
    assert quality.gain["low"] is None
    assert quality.gain["reason"].startswith("15 photos")
    assert quality.unshared == ["yak"]


def test_labels_that_are_not_known_of_a_photo_count_for_neither():
    (one, one_holds), (other, other_holds) = answers(30, 1)
    truth, unknown = [["dog"], ["cat"], []] * 10, [["cat", "yak"], None, ["bus", "cat", "dog"]] * 10
    # Where nobody knows it, the other model finds what is taken to be false; one does not.
    for row, labels in enumerate(unknown):
        for label in set(labels or ()) & set(ONE):
            other_holds[row, ONE.index(label)] = True
            one_holds[row, ONE.index(label)] = False
    comparison = Comparison(ONE, ONE, 5)
    names = [str(n) for n in range(30)]
    comparison.add(names, truth, unknown, [(one, one_holds), (other, other_holds)])
    pairs = [
        (label in truth[row], one_holds[row, i], other_holds[row, i])
        for row in range(30)
        for i, label in enumerate(ONE)
        if label not in (unknown[row] or ())
    ]
    expected, by_one, by_other = np.array(pairs).T[:, :, None]
    quality = comparison.quality()
    assert quality.photos == 20
    assert quality.one == micro_f1(expected, by_one)
    assert quality.other == micro_f1(expected, by_other)
    assert quality.gain["value"] == pytest.approx(quality.other - quality.one)
    assert quality.unshared == []
    nothing = Comparison(ONE, ONE, 5)
    nothing.add(["x"], [[]], [ONE], answers(1, 0))
    assert nothing.quality() is None


def test_models_without_a_common_label_can_be_compared():
    comparison = Comparison(["dog", "cat", "bus"], ["a", "b", "c"], 5)
    comparison.add(["x"], [["dog"]], [None], answers(1, 0))
    assert (comparison.shared, comparison.differences, comparison.quality()) == ([], [], None)


@pytest.mark.parametrize(
    "cell, names, expected",
    [
        ("3 1 11", {"1", "3"}, ["3", "1", "11"]),
        ("hot dog|cat", {"hot dog", "cat"}, ["hot dog", "cat"]),
        ("1\t2 \n 3", {"1", "2", "3"}, ["1", "2", "3"]),
        ("", {"1"}, []),
        (None, {"1"}, None),
        ("Ma\u0308dchen", {"Mädchen"}, ["Mädchen"]),
        ("Ma\u0308dchen", {"Ma\u0308dchen"}, ["Ma\u0308dchen"]),
    ],
)
def test_labels_of_a_cell(cell: str | None, names: set[str], expected: list[str] | None):
    assert label_list(cell, names) == expected

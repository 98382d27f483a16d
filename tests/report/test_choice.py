"""Which photos are shown: right, wrong and typical ones, each once."""

import numpy as np
import pytest

from stages.report import choice

SCORES = np.array([0.9, 0.2, 0.75, 0.7, 0.95, 0.1, 0.5, 0.3, 0.9])
TRUTH = np.array([1, 1, 1, 0, 0, 0, 1, 1, 1], bool)


def chosen(count: int) -> dict[str, list[int]]:
    found = choice.choose(TRUTH, SCORES >= 0.5, SCORES, count)
    return {kind: rows.tolist() for kind, rows in found.items()}


def test_each_kind_the_most_certain_first_and_of_equals_the_earlier():
    assert chosen(2) == {
        "best": [0, 8],
        "typical": [2, 6],  # the median of those that carry it is 0.625
        "false_positive": [4, 3],
        "false_negative": [1, 7],
    }
    assert list(chosen(1)) == list(choice.KINDS)
    assert chosen(1)["typical"] == [2]


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_no_photo_is_there_twice(count: int):
    rows = [row for part in chosen(count).values() for row in part]
    assert len(rows) == len(set(rows))
    if count == 9:  # all but the one that is rightly not found
        assert sorted(rows) == [0, 1, 2, 3, 4, 6, 7, 8]


def test_a_label_that_nothing_carries_has_only_false_positives():
    nothing = np.zeros(3, bool)
    found = choice.choose(nothing, np.array([0, 1, 1], bool), np.array([0.1, 0.6, 0.8]), 3)
    assert [rows.tolist() for rows in found.values()] == [[], [], [2, 1], []]


def test_places_of_the_most_frequent_labels():
    truth = np.array([[0, 1, 0, 0], [1, 1, 0, 0], [0, 1, 0, 0]], bool)
    predicted = truth | np.array([0, 0, 0, 1], bool)
    scores = np.where(truth, 0.9, 0.1)
    assert choice.places(truth, predicted, scores, None, 1).rows() == [
        (1, "best", 0), (1, "typical", 1),
        (0, "best", 1),
        (3, "false_positive", 0),  # label 2 is neither true nor predicted
    ]  # fmt: skip
    assert choice.places(truth, predicted, scores, 2, 1)["label"].unique().to_list() == [0, 1]

"""Which photos are shown: right, wrong, typical and borderline ones, each once."""

import numpy as np
import polars as pl
import pytest

from stages.report.example_choice import KINDS, choose_examples, examples_of_label
from stages.report.validation import Validation

SCORES = np.array([0.9, 0.2, 0.75, 0.7, 0.95, 0.1, 0.5, 0.3, 0.9, 0.6, 0.45])
TRUTH = np.array([1, 1, 1, 0, 0, 0, 1, 1, 1, 1, 0], bool)


def chosen(count: int) -> dict[str, list[int]]:
    kinds = examples_of_label(TRUTH, SCORES >= 0.5, SCORES, 0.5, count)
    return {kind: rows.tolist() for kind, rows in kinds.items()}


def test_each_kind_the_most_certain_first_and_of_equals_the_earlier():
    assert chosen(2) == {
        "best": [0, 8],
        "typical": [9, 6],  # the median of those that carry it is 0.6
        "borderline": [10, 2],
        "false_positive": [4, 3],
        "false_negative": [1, 7],
    }
    assert list(chosen(1)) == list(KINDS)
    assert chosen(1)["borderline"] == [6]


@pytest.mark.parametrize("count", [1, 2, 3, 11])
def test_no_photo_is_there_twice(count: int):
    rows = [row for part in chosen(count).values() for row in part]
    assert len(rows) == len(set(rows))
    if count == len(TRUTH):
        assert sorted(rows) == list(range(count))


def test_a_label_that_nothing_carries_is_never_right_nor_missed():
    nothing = np.zeros(3, bool)
    predicted, scores = np.array([0, 1, 1], bool), np.array([0.1, 0.6, 0.8])
    kinds = examples_of_label(nothing, predicted, scores, 0.5, 3)
    assert [rows.tolist() for rows in kinds.values()] == [[], [], [0], [2, 1], []]


def test_examples_of_the_most_frequent_labels():
    truth = np.array([[0, 1, 0, 0], [1, 1, 0, 0], [0, 1, 0, 0]], bool)
    predicted = truth | np.array([0, 0, 0, 1], bool)
    scores = np.where(truth, 0.9, 0.1)
    names = ["a", "b", "c", "d"]
    known = np.ones_like(truth)
    validation = Validation(names, pl.DataFrame(), truth, predicted, known, scores, [0.5] * 4)
    assert choose_examples(validation, None, 1).rows() == [
        (1, "best", 0), (1, "typical", 1), (1, "borderline", 2),
        (0, "best", 1), (0, "borderline", 0),
        (3, "borderline", 1), (3, "false_positive", 0),  # label 2 is neither true nor predicted
    ]  # fmt: skip
    examples = choose_examples(validation, 2, 1)
    assert examples["label"].unique().to_list() == [0, 1]


def test_a_photo_shows_nothing_of_a_label_that_is_not_known_of_it():
    known = np.ones((len(TRUTH), 2), bool)
    known[[0, 4, 5, 6], 0] = False  # of each kind one, by what the matrix says there
    known[:, 1] = False
    truth, scores = (np.repeat(each[:, None], 2, axis=1) for each in (TRUTH, SCORES))
    validation = Validation(
        ["a", "b"], pl.DataFrame(), truth, scores >= 0.5, known, scores, [0.5] * 2
    )
    examples = choose_examples(validation, None, len(TRUTH))
    assert examples["label"].unique().to_list() == [0]
    assert sorted(examples["row"]) == [1, 2, 3, 7, 8, 9, 10]
    kinds = dict(examples.group_by("kind").agg("row").iter_rows())
    assert kinds == {
        "best": [8, 2, 9], "false_positive": [3], "false_negative": [1, 7], "borderline": [10],
    }  # fmt: skip

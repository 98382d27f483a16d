"""Curves as scikit-learn has them; pairs of labels that were made to be confused."""

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_score, recall_score

from stages.report import by_label

NAMES = ["fork", "knife", "cup"]


def sample(rows: int = 400) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    truth = random.random((rows, 3)) < [0.5, 0.1, 0.0]
    scores = (truth * 0.3 + random.random((rows, 3)) * 0.7).round(2).astype(np.float32)
    return truth, scores


def test_curves_are_those_of_scikit_learn_in_few_points():
    truth, scores = sample()
    curves = by_label.curves(truth, scores, np.ones_like(truth), ["a", "b", "nowhere"])
    assert curves["label"].unique(maintain_order=True).to_list() == ["a", "b"]
    for column, label in enumerate("ab"):
        curve = curves.filter(label=label)
        assert 20 <= len(curve) <= by_label.POINTS[1]
        assert curve["threshold"][0] == scores[:, column].max()
        assert curve["recall"][-1] == 1
        for threshold, *values in curve.drop("label").rows():
            decided = truth[:, column], scores[:, column] >= threshold
            expected = [score(*decided) for score in (precision_score, recall_score, f1_score)]
            assert values == pytest.approx(expected)


def test_many_labels_do_not_make_a_large_page():
    truth = np.ones((60, 600), bool)
    scores = np.linspace(0, 1, truth.size).reshape(truth.shape)
    curves = by_label.curves(truth, scores, truth, [str(label) for label in range(600)])
    assert len(curves) <= 600 * by_label.POINTS[0]


def test_a_label_that_brings_another_with_it_is_listed():
    # Ten photos: fork on 0 to 5, knife on 0 and 1; knife is found wherever there is a fork.
    truth, predicted = np.zeros((2, 10, 3), bool)
    known = np.ones_like(truth)
    truth[:6, 0] = truth[:2, 1] = True
    predicted[:6, :2] = True
    predicted[9, 1] = True
    without, wrong = by_label.beside(truth, predicted, known)
    assert without.tolist() == [[0, 4, 6], [0, 0, 2], [0, 0, 0]]
    assert wrong.tolist() == [[0, 4, 0], [0, 0, 0], [0, 0, 0]]
    pairs = by_label.confused(truth, predicted, known, NAMES, most=5)
    assert pairs.rows() == [("fork", "knife", 2, 4, 4, 1.0, 0.25)]
    rates = by_label.rates(truth, predicted, known, NAMES)
    assert rates.rows() == [
        ("fork", "knife", 4, 4, 1.0), ("fork", "cup", 0, 6, 0.0), ("knife", "cup", 0, 2, 0.0),
    ]  # fmt: skip


def test_what_is_unknown_is_in_no_curve():
    truth, scores = sample()
    known = np.random.default_rng(1).random(truth.shape) < 0.7
    known[:, 1] &= ~truth[:, 1]  # true nowhere, as far as it is known
    truth[:, 2] = ~known[:, 2]
    scores = np.where(known, scores, 1 - scores)
    rows = known[:, 0]
    expected = by_label.curves(truth[rows, :1], scores[rows, :1], known[rows, :1], ["a"])
    assert by_label.curves(truth, scores, known, ["a", "b", "c"]).equals(expected)


def test_what_is_unknown_is_confused_with_nothing():
    # As above, and of the fork: unknown on 5, where the knife is found, and on 9.
    # Of the knife: unknown on 4, where it is found beside a fork, and on 8.
    truth, predicted = np.zeros((2, 10, 3), bool)
    truth[:6, 0] = truth[:2, 1] = True
    predicted[:6, :2] = predicted[8:, 1] = True
    known = np.ones_like(truth)
    known[[5, 9], 0] = known[[4, 8], 1] = False
    for unknown_truth in (False, True):
        truth[~known] = unknown_truth
        without, wrong = by_label.beside(truth, predicted, known)
        assert without.tolist() == [[0, 2, 5], [0, 0, 2], [0, 0, 0]]
        assert wrong.tolist() == [[0, 2, 0], [0, 0, 0], [0, 0, 0]]
    predicted[[6, 7], 1] = True
    known[4, 1] = True
    truth[4] = [True, False, False]
    # Beside the fork on 2, 3 and 4; of the two where neither is, on both.
    assert by_label.confused(truth, predicted, known, NAMES, most=5).is_empty()
    predicted[7, 1] = False
    pairs = by_label.confused(truth, predicted, known, NAMES, most=5)
    assert pairs.rows() == [("fork", "knife", 2, 3, 3, 1.0, 0.5)]

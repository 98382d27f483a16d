"""Curves as scikit-learn has them; pairs of labels that were made to be confused."""

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_score, recall_score

from stages.report import by_label


def sample(rows: int = 400) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    truth = random.random((rows, 3)) < [0.5, 0.1, 0.0]
    scores = (truth * 0.3 + random.random((rows, 3)) * 0.7).round(2).astype(np.float32)
    return truth, scores


def test_curves_are_those_of_scikit_learn_in_few_points():
    truth, scores = sample()
    curves = by_label.curves(truth, scores, ["a", "b", "nowhere"])
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
    curves = by_label.curves(truth, scores, [str(label) for label in range(600)])
    assert len(curves) <= 600 * by_label.POINTS[0]


def test_a_label_that_brings_another_with_it_is_listed():
    # Ten photos: fork on 0 to 5, knife on 0 and 1; knife is found wherever there is a fork.
    truth, predicted = np.zeros((2, 10, 3), bool)
    truth[:6, 0] = truth[:2, 1] = True
    predicted[:6, :2] = True
    predicted[9, 1] = True
    without, wrong = by_label.beside(truth, predicted)
    assert without.tolist() == [[0, 4, 6], [0, 0, 2], [0, 0, 0]]
    assert wrong.tolist() == [[0, 4, 0], [0, 0, 0], [0, 0, 0]]
    pairs = by_label.confused(truth, predicted, ["fork", "knife", "cup"], most=5)
    assert pairs.rows() == [("fork", "knife", 2, 4, 4, 1.0, 0.25)]
    rates = by_label.rates(truth, predicted, ["fork", "knife", "cup"])
    assert rates.rows() == [
        ("fork", "knife", 4, 4, 1.0), ("fork", "cup", 0, 6, 0.0), ("knife", "cup", 0, 2, 0.0),
    ]  # fmt: skip

import json
import math
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from stages import metrics


def random_case(seed: int, rows: int = 200, labels: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Truth and probabilities; many ties, one label never true, one always, rows without any."""
    random = np.random.default_rng(seed)
    truth = random.random((rows, labels)) < np.linspace(0, 0.6, labels)
    truth[:, -1] = True
    truth[::7] = False
    probabilities = (0.4 * truth + random.random((rows, labels))).round(1)
    return truth, probabilities


CASES = [random_case(seed) for seed in range(5)]


@pytest.mark.parametrize(("truth", "probabilities"), CASES)
def test_figures_of_decisions_agree_with_scikit_learn(
    truth: np.ndarray, probabilities: np.ndarray
) -> None:
    for threshold in (0.3, 0.7, 2.0):  # the last predicts nothing
        predicted = probabilities >= threshold
        for average, ours in (("micro", metrics.micro_f1), ("macro", metrics.macro_f1)):
            theirs = sklearn_metrics.f1_score(truth, predicted, average=average, zero_division=0)
            assert ours(truth, predicted) == pytest.approx(theirs)
        assert metrics.subset_accuracy(truth, predicted) == pytest.approx(
            sklearn_metrics.accuracy_score(truth, predicted)
        )
        assert metrics.hamming_loss(truth, predicted) == pytest.approx(
            sklearn_metrics.hamming_loss(truth, predicted)
        )
        table = sklearn_metrics.multilabel_confusion_matrix(truth, predicted)
        ours = np.stack(metrics.counts(truth, predicted))
        np.testing.assert_array_equal(ours, [table[:, 1, 1], table[:, 0, 1], table[:, 1, 0]])


@pytest.mark.parametrize(("truth", "probabilities"), CASES)
def test_average_precision_agrees_with_scikit_learn(
    truth: np.ndarray, probabilities: np.ndarray
) -> None:
    for label in range(1, truth.shape[1]):
        ranking = metrics.Ranking(truth[:, label], probabilities[:, label])
        theirs = sklearn_metrics.average_precision_score(truth[:, label], probabilities[:, label])
        assert ranking.average_precision() == pytest.approx(theirs)
    present = truth.any(axis=0)
    assert not present.all()
    theirs = sklearn_metrics.average_precision_score(truth[:, present], probabilities[:, present])
    assert metrics.mean_average_precision(truth, probabilities) == pytest.approx(theirs)
    each = metrics.average_precisions(truth, probabilities)
    np.testing.assert_array_equal(np.isnan(each), ~present)
    assert each[present].mean() == pytest.approx(theirs)


def test_average_precision_where_nothing_is_true() -> None:
    nothing = np.zeros(4, bool)
    assert math.isnan(metrics.Ranking(nothing, np.arange(4.0)).average_precision())
    assert math.isnan(metrics.Ranking(nothing[:0], np.zeros(0)).average_precision())
    assert metrics.mean_average_precision(nothing[:, None], np.ones((4, 1))) == 0


def test_nothing_true_and_nothing_predicted() -> None:
    nothing = np.zeros((3, 2), bool)
    assert metrics.micro_f1(nothing, nothing) == 0
    assert metrics.macro_f1(nothing, nothing) == 0
    assert metrics.subset_accuracy(nothing, nothing) == 1
    assert metrics.hamming_loss(nothing, nothing) == 0


@pytest.mark.parametrize(("truth", "probabilities"), CASES)
def test_what_is_unknown_counts_nowhere(truth: np.ndarray, probabilities: np.ndarray) -> None:
    known = np.random.default_rng(1).random(truth.shape) < 0.6
    known[::5], known[:, 3] = False, False  # nothing of these rows, nothing of this label
    predicted = probabilities >= 0.5
    micro = sklearn_metrics.f1_score(truth[known], predicted[known])
    assert metrics.micro_f1(truth, predicted, known=known) == pytest.approx(micro)
    expected = sklearn_metrics.hamming_loss(truth[known], predicted[known])
    assert metrics.hamming_loss(truth, predicted, known=known) == pytest.approx(expected)
    rows = [(truth[i] == predicted[i])[known[i]].all() for i in range(len(truth)) if known[i].any()]
    assert metrics.subset_accuracy(truth, predicted, known=known) == pytest.approx(np.mean(rows))
    columns = [i for i in range(truth.shape[1]) if i != 3]
    of_known = [(truth[known[:, i], i], probabilities[known[:, i], i]) for i in columns]
    f1 = [sklearn_metrics.f1_score(t, p >= 0.5, zero_division=0) for t, p in of_known]
    assert metrics.macro_f1(truth, predicted, known=known) == pytest.approx(np.mean(f1))
    precision = [sklearn_metrics.average_precision_score(t, p) for t, p in of_known if t.any()]
    each = metrics.mean_average_precision(truth, probabilities, known=known)
    assert each == pytest.approx(np.mean(precision))


def test_what_is_said_of_the_unknown_changes_no_figure() -> None:
    truth, probabilities = CASES[0]
    known = np.random.default_rng(1).random(truth.shape) < 0.6
    predicted = probabilities >= 0.5
    other, turned = truth ^ ~known, np.where(known, probabilities, 1 - probabilities)
    for metric in (
        metrics.micro_f1,
        metrics.macro_f1,
        metrics.subset_accuracy,
        metrics.hamming_loss,
    ):
        expected = metric(truth, predicted, known=known)
        assert metric(other, predicted ^ ~known, known=known) == expected
    expected = metrics.mean_average_precision(truth, probabilities, known=known)
    assert metrics.mean_average_precision(other, turned, known=known) == expected


def test_ratio() -> None:
    np.testing.assert_array_equal(
        metrics.ratio(np.array([1, 2, 0]), np.array([2, 0, 0])), [0.5, 0, 0]
    )
    assert metrics.ratio(1, 4) == 0.25
    np.testing.assert_array_equal(metrics.ratio(1.0, np.array([4, 2])), [0.25, 0.5])


def test_write_rounds_and_takes_numpys_numbers(in_tmp: Path) -> None:
    metrics.write(
        "stage",
        {
            "float": 1 / 3,
            "numpy": np.float32(0.5),
            "count": np.int64(7),
            "flag": np.True_,
            "nothing": [],
            "nested": {3: [np.float64(2 / 3), None, "x"], "array": np.arange(2)},
        },
    )
    assert json.loads(Path("metrics/stage.json").read_text()) == {
        "float": 0.333333,
        "numpy": 0.5,
        "count": 7,
        "flag": True,
        "nothing": None,
        "nested": {"3": [0.666667, None, "x"], "array": [0, 1]},
    }

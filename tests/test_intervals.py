"""The gain of one decision over another, beside scikit-learn on the same rows drawn."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score

from stages import metrics
from stages.intervals import by_label, f1_by_label, paired_gain, report

ROWS, SAMPLES = 120, 200


@pytest.fixture
def truth() -> np.ndarray:
    return np.random.default_rng(0).random((ROWS, 4)) < 0.4


def answer(truth: np.ndarray, noise: float) -> tuple[np.ndarray, np.ndarray]:
    probabilities = np.clip(truth + np.random.default_rng(1).normal(0, noise, truth.shape), 0, 1)
    return probabilities, probabilities >= 0.5


def drawn(metric, *arguments: np.ndarray) -> list[float]:
    """``metric`` on the rows that each sample draws."""
    random = np.random.default_rng(7)
    rows = [random.integers(ROWS, size=ROWS) for _ in range(SAMPLES)]
    return [metric(*(array[chosen] for array in arguments)) for chosen in rows]


@pytest.mark.slow
def test_the_gain_is_paired(truth: np.ndarray):
    worse, better = answer(truth, 0.8), answer(truth, 0.7)
    gain = paired_gain(truth, worse, better, "macro_f1", SAMPLES, 7)

    def difference(truth: np.ndarray, worse: np.ndarray, better: np.ndarray) -> float:
        scores = (f1_score(truth, d, average="macro", zero_division=0) for d in (better, worse))
        return next(scores) - next(scores)

    expected = drawn(difference, truth, worse[1], better[1])
    assert gain["value"] == pytest.approx(difference(truth, worse[1], better[1]))
    assert [gain["low"], gain["high"]] == pytest.approx(np.percentile(expected, [2.5, 97.5]))
    apart = report(truth, *better, SAMPLES, 7)["macro_f1"]
    assert gain["high"] - gain["low"] < apart["high"] - apart["low"]


@pytest.mark.slow
def test_the_gain_of_a_ranking(truth: np.ndarray):
    worse, better = answer(truth, 0.8), answer(truth, 0.7)
    gain = paired_gain(truth, worse, better, "mean_average_precision", SAMPLES, 7)

    def difference(truth: np.ndarray, worse: np.ndarray, better: np.ndarray) -> float:
        scores = (average_precision_score(truth, p, average="macro") for p in (better, worse))
        return next(scores) - next(scores)

    expected = drawn(difference, truth, worse[0], better[0])
    assert gain["value"] == pytest.approx(difference(truth, worse[0], better[0]))
    assert [gain["low"], gain["high"]] == pytest.approx(np.percentile(expected, [2.5, 97.5]))


def test_nothing_gains_over_itself(truth: np.ndarray):
    same = answer(truth, 0.8)
    gain = paired_gain(truth, same, same, "subset_accuracy", SAMPLES, 7)
    assert gain == {"value": 0, "low": 0, "high": 0}


@pytest.fixture
def known(truth: np.ndarray) -> np.ndarray:
    known = np.random.default_rng(2).random(truth.shape) < 0.6
    known[::5] = False  # nothing of these rows
    return known


def test_intervals_are_of_what_is_known(truth: np.ndarray, known: np.ndarray):
    probabilities, predicted = answer(truth, 0.8)
    figures = report(truth, probabilities, predicted, SAMPLES, 7, known=known)
    for name in ("micro_f1", "macro_f1", "subset_accuracy", "hamming_loss"):
        metric = getattr(metrics, name)
        assert figures[name]["value"] == pytest.approx(metric(truth, predicted, known))
        expected = np.percentile(drawn(metric, truth, predicted, known), [2.5, 97.5])
        assert [figures[name]["low"], figures[name]["high"]] == pytest.approx(expected)
    precision = metrics.mean_average_precision(truth, probabilities, known)
    assert figures["mean_average_precision"]["value"] == pytest.approx(precision)


def test_a_label_of_which_nothing_is_known_is_in_no_mean(truth: np.ndarray):
    probabilities, predicted = answer(truth, 0.8)
    known = np.ones_like(truth)
    known[:, 2] = False
    without = [0, 1, 3]
    figures = report(truth, probabilities, predicted, SAMPLES, 7, known=known)
    expected = report(*(each[:, without] for each in (truth, probabilities, predicted)), SAMPLES, 7)
    assert figures.keys() == expected.keys()
    for name, figure in figures.items():
        assert figure == pytest.approx(expected[name]), name


def test_gains_and_labels_are_of_what_is_known(truth: np.ndarray, known: np.ndarray):
    worse, better = answer(truth, 0.8), answer(truth, 0.7)
    for metric, place in (("micro_f1", 1), ("mean_average_precision", 0)):
        gain = paired_gain(truth, worse, better, metric, SAMPLES, 7, known=known)
        of = getattr(metrics, metric)
        expected = of(truth, better[place], known) - of(truth, worse[place], known)
        assert gain["value"] == pytest.approx(expected)
    columns = by_label(truth, *better, known)
    assert columns["known"].tolist() == known.sum(axis=0).tolist()
    assert columns["count"].tolist() == (truth & known).sum(axis=0).tolist()
    assert columns["f1"] == pytest.approx(metrics.f1_of_labels(truth, better[1], known))
    each = f1_by_label(truth, better[1], SAMPLES, 7, known=known)
    assert [figure["value"] for figure in each] == pytest.approx(columns["f1"])
    assert "known" not in by_label(truth, *better)


def test_with_everything_known_the_figures_are_the_same_to_the_last_bit(truth: np.ndarray):
    probabilities, predicted = answer(truth, 0.8)
    everything = np.ones_like(truth)
    figures = report(truth, probabilities, predicted, SAMPLES, 7)
    assert report(truth, probabilities, predicted, SAMPLES, 7, known=everything) == figures

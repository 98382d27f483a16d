"""The gain of one decision over another, beside scikit-learn on the same rows drawn."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score

from stages.intervals import paired_gain, report

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

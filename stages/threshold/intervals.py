"""Metrics of a decision, with bootstrap intervals."""

import numpy as np

from stages.metrics import Ranking, average_precisions, ratio

CONFIDENCE = 0.95


def report(
    truth: np.ndarray,
    probabilities: np.ndarray,
    predicted: np.ndarray,
    samples: int,
    seed: int,
) -> dict[str, dict[str, float]]:
    """Each metric with its 95 % interval, by resampling rows (percentile bootstrap, Efron 1979).

    Args:
        truth, predicted: bool (rows, labels).
        probabilities: float (rows, labels).
        samples: how many times the rows are drawn anew.

    Returns:
        Metric name → ``value``, ``low``, ``high``.
    """
    measured = _Measured(truth, probabilities, predicted)
    values = measured.metrics(np.ones(len(truth)))
    drawn: dict[str, list[float]] = {name: [] for name in values}
    random = np.random.default_rng(seed)
    for _ in range(samples):
        # How often each row is drawn; no row is copied.
        draw = random.integers(len(truth), size=len(truth))
        weights = np.bincount(draw, minlength=len(truth)).astype(float)
        for name, value in measured.metrics(weights).items():
            drawn[name].append(value)
    tail = 100 * (1 - CONFIDENCE) / 2
    return {
        name: {
            "value": value,
            "low": float(np.percentile(drawn[name], tail)),
            "high": float(np.percentile(drawn[name], 100 - tail)),
        }
        for name, value in values.items()
    }


def by_label(
    truth: np.ndarray, probabilities: np.ndarray, predicted: np.ndarray
) -> dict[str, np.ndarray]:
    """Count, precision, recall, F1 and average precision of each label: (labels,) arrays."""
    hits, positives, chosen = (part.sum(axis=0) for part in (truth & predicted, truth, predicted))
    return {
        "count": positives,
        "precision": ratio(hits, chosen),
        "recall": ratio(hits, positives),
        "f1": ratio(2 * hits, chosen + positives),
        "average_precision": np.nan_to_num(average_precisions(truth, probabilities)),
    }


class _Measured:
    """Decisions and rankings, prepared once so that each resampling is a few sums."""

    def __init__(self, truth: np.ndarray, probabilities: np.ndarray, predicted: np.ndarray) -> None:
        self._hits = (truth & predicted).astype(float)
        self._chosen = predicted.astype(float)
        self._positives = truth.astype(float)
        self._wrong = (truth != predicted).astype(float)
        columns = zip(truth.T, probabilities.T, strict=True)
        self._rankings = [Ranking(*column) for column in columns]

    def metrics(self, weights: np.ndarray) -> dict[str, float]:
        """The metrics with row i counted ``weights[i]`` times; float (rows,)."""
        hits, chosen, positives = (
            weights @ part for part in (self._hits, self._chosen, self._positives)
        )
        each = np.array([ranking.average_precision(weights) for ranking in self._rankings])
        defined = each[~np.isnan(each)]
        total = weights.sum()
        return {
            "micro_precision": float(ratio(hits.sum(), chosen.sum())),
            "micro_recall": float(ratio(hits.sum(), positives.sum())),
            "micro_f1": float(ratio(2 * hits.sum(), chosen.sum() + positives.sum())),
            "macro_precision": float(ratio(hits, chosen).mean()),
            "macro_recall": float(ratio(hits, positives).mean()),
            "macro_f1": float(ratio(2 * hits, chosen + positives).mean()),
            "subset_accuracy": 1 - float(weights @ self._wrong.max(axis=1) / total),
            "hamming_loss": float(weights @ self._wrong.mean(axis=1) / total),
            "mean_average_precision": float(defined.mean()) if len(defined) else 0.0,
        }

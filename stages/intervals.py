"""Metrics of a decision, with bootstrap intervals.

``known`` is bool (rows, labels), the decisions of which the truth is known; None: all. The others
count nowhere, as in ``stages.metrics``.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from stages.metrics import average_precisions, rankings, ratio

CONFIDENCE = 0.95

Report = dict[str, dict[str, float]]  # metric → ``value``, ``low``, ``high``


def report(
    truth: np.ndarray,
    probabilities: np.ndarray,
    predicted: np.ndarray,
    samples: int,
    seed: int,
    known: np.ndarray | None = None,
) -> Report:
    """Each metric with its 95 % interval, by resampling rows (percentile bootstrap, Efron 1979).

    Args:
        truth, predicted: bool (rows, labels).
        probabilities: float (rows, labels).
        samples: how many times the rows are drawn anew.
    """
    [metrics] = reports(truth, probabilities, [predicted], samples, seed, known)
    return metrics


def reports(
    truth: np.ndarray,
    probabilities: np.ndarray,
    decisions: Sequence[np.ndarray],
    samples: int,
    seed: int,
    known: np.ndarray | None = None,
) -> list[Report]:
    """``report`` of each of ``decisions``, bool (rows, labels), on the same rows drawn.

    Most of the time goes into rankings, which no decision changes; they are resampled once.
    """
    ranked = _Ranked(truth, probabilities, known)
    decided = [_Decided(truth, predicted, known) for predicted in decisions]

    def measure(weights: np.ndarray) -> list[dict[str, float]]:
        precision = ranked.metrics(weights)
        return [each.metrics(weights) | precision for each in decided]

    drawn = [measure(weights) for weights in _draws(len(truth), samples, seed)]
    return [
        {
            name: _with_interval(value, [sample[place][name] for sample in drawn])
            for name, value in values.items()
        }
        for place, values in enumerate(measure(np.ones(len(truth))))
    ]


Answer = tuple[np.ndarray, np.ndarray]  # probabilities float, decisions bool: (rows, labels)


def paired_gain(
    truth: np.ndarray,
    one: Answer,
    other: Answer,
    metric: str,
    samples: int,
    seed: int,
    known: np.ndarray | None = None,
) -> dict[str, float]:
    """By how much ``other`` is above ``one`` in a metric, with its 95 % interval.

    In each sample both are measured on the same rows drawn, so what makes rows hard for both does
    not widen the interval (paired bootstrap, Efron and Tibshirani 1993).

    Args:
        truth: bool (rows, labels).
        metric: one of those that ``report`` has.

    Returns:
        ``value``, ``low`` and ``high``.
    """
    # Ranking takes most of the time, and only one metric asks for it.
    prepare = _Ranked if metric == "mean_average_precision" else _Decided
    place = 0 if prepare is _Ranked else 1
    sides = [prepare(truth, answer[place], known) for answer in (one, other)]

    def gain(weights: np.ndarray) -> float:
        below, above = (side.metrics(weights)[metric] for side in sides)
        return above - below

    drawn = [gain(weights) for weights in _draws(len(truth), samples, seed)]
    return _with_interval(gain(np.ones(len(truth))), drawn)


def f1_by_label(
    truth: np.ndarray,
    predicted: np.ndarray,
    samples: int,
    seed: int,
    known: np.ndarray | None = None,
) -> list[dict[str, float]]:
    """F1 of each label with its 95 % interval, as ``report`` has them; both bool (rows, labels)."""
    decided = _Decided(truth, predicted, known)
    drawn = np.array([decided.f1(weights) for weights in _draws(len(truth), samples, seed)])
    values = decided.f1(np.ones(len(truth)))
    return [_with_interval(float(f1), each) for f1, each in zip(values, drawn.T, strict=True)]


def _draws(rows: int, samples: int, seed: int) -> Iterator[np.ndarray]:
    """``samples`` times: how often each row is drawn, float (rows,). No row is copied."""
    generator = np.random.default_rng(seed)
    for _ in range(samples):
        yield np.bincount(generator.integers(rows, size=rows), minlength=rows).astype(float)


def _with_interval(value: float, drawn: Sequence[float] | np.ndarray) -> dict[str, float]:
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = (float(np.percentile(drawn, percent)) for percent in (tail, 100 - tail))
    return {"value": value, "low": low, "high": high}


def by_label(
    truth: np.ndarray,
    probabilities: np.ndarray,
    predicted: np.ndarray,
    known: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Count, precision, recall, F1 and average precision of each label: (labels,) arrays.

    Of a label that no row carries there is only the count; the others are NaN. With ``known``
    there is also ``known``, of how many rows the label is known.
    """
    if known is not None:
        truth, predicted = truth & known, predicted & known
    hits, positives, chosen = (part.sum(axis=0) for part in (truth & predicted, truth, predicted))
    figures = {
        "precision": ratio(hits, chosen),
        "recall": ratio(hits, positives),
        "f1": ratio(2 * hits, chosen + positives),
        "average_precision": average_precisions(truth, probabilities, known),
    }
    columns = {"count": positives}
    columns |= {name: np.where(positives > 0, each, np.nan) for name, each in figures.items()}
    return columns if known is None else columns | {"known": known.sum(axis=0)}


class _Ranked:
    """Rankings, sorted once so that each resampling is a few sums."""

    def __init__(
        self, truth: np.ndarray, probabilities: np.ndarray, known: np.ndarray | None
    ) -> None:
        self._rankings = rankings(truth, probabilities, known)

    def metrics(self, weights: np.ndarray) -> dict[str, float]:
        """The metrics with row i counted ``weights[i]`` times; float (rows,)."""
        each = np.array([ranking.average_precision(weights) for ranking in self._rankings])
        defined = each[~np.isnan(each)]
        return {"mean_average_precision": float(defined.mean()) if len(defined) else 0.0}


class _Decided:
    """Decisions, prepared once so that each resampling is a few sums."""

    def __init__(self, truth: np.ndarray, predicted: np.ndarray, known: np.ndarray | None) -> None:
        wrong = (truth != predicted).astype(float)
        # What the wrong ones are counted among: of each row, whether it counts, and how much of it.
        self._row = self._share = np.ones(len(truth))
        self._known = None
        if known is not None:
            truth, predicted, wrong = truth & known, predicted & known, wrong * known
            self._row, self._share = known.any(axis=1).astype(float), known.mean(axis=1)
            self._known = known.astype(float)
        self._hits = (truth & predicted).astype(float)
        self._chosen = predicted.astype(float)
        self._positives = truth.astype(float)
        self._any_wrong, self._share_wrong = wrong.max(axis=1), wrong.mean(axis=1)

    def f1(self, weights: np.ndarray) -> np.ndarray:
        """F1 of each label with row i counted ``weights[i]`` times; float (rows,)."""
        return ratio(2 * (weights @ self._hits), weights @ (self._chosen + self._positives))

    def metrics(self, weights: np.ndarray) -> dict[str, float]:
        """The metrics with row i counted ``weights[i]`` times; float (rows,)."""
        hits, chosen, positives = (
            weights @ part for part in (self._hits, self._chosen, self._positives)
        )
        # The labels of which anything is known in the rows drawn.
        some = slice(None) if self._known is None else weights @ self._known > 0
        return {
            "micro_precision": float(ratio(hits.sum(), chosen.sum())),
            "micro_recall": float(ratio(hits.sum(), positives.sum())),
            "micro_f1": float(ratio(2 * hits.sum(), chosen.sum() + positives.sum())),
            "macro_precision": float(ratio(hits, chosen)[some].mean()),
            "macro_recall": float(ratio(hits, positives)[some].mean()),
            "macro_f1": float(ratio(2 * hits, chosen + positives)[some].mean()),
            "subset_accuracy": 1 - float(ratio(weights @ self._any_wrong, weights @ self._row)),
            "hamming_loss": float(ratio(weights @ self._share_wrong, weights @ self._share)),
        }

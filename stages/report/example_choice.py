"""Which validation photos show best what a network has learnt of a label."""

from collections.abc import Sequence

import numpy as np
import polars as pl

KINDS = ("best", "typical", "borderline", "false_positive", "false_negative")


def choose(
    truth: np.ndarray,
    predicted: np.ndarray,
    probabilities: np.ndarray,
    threshold: float,
    count: int,
) -> dict[str, np.ndarray]:
    """Up to ``count`` photos of each of ``KINDS`` for one label; none is there twice.

    ``best``: found, the most certain first. ``false_positive`` and ``false_negative``: wrong,
    the most certain first. ``typical``: carry the label, nearest to the median probability of
    those that do. ``borderline``: nearest to the threshold, whether they carry it or not. Of
    equals the earlier row comes first.

    Args:
        truth, predicted: bool, (rows,).
        probabilities: float, (rows,).

    Returns:
        int row numbers for each kind.
    """

    def first(rows: np.ndarray, by: np.ndarray) -> np.ndarray:
        return rows[np.argsort(by[rows], kind="stable")][:count]

    def where(condition: np.ndarray) -> np.ndarray:
        return np.flatnonzero(condition)

    scores = probabilities.astype(np.float64)
    best = first(where(truth & predicted), -scores)
    false_positive = first(where(~truth & predicted), -scores)
    false_negative = first(where(truth & ~predicted), scores)
    shown = np.concatenate([best, false_positive, false_negative])
    median = np.median(scores[truth]) if truth.any() else 0.0
    typical = first(np.setdiff1d(where(truth), shown), np.abs(scores - median))
    left = np.setdiff1d(np.arange(len(truth)), np.concatenate([shown, typical]))
    borderline = first(left, np.abs(scores - threshold))
    found = (best, typical, borderline, false_positive, false_negative)
    return dict(zip(KINDS, found, strict=True))


def places(
    truth: np.ndarray,
    predicted: np.ndarray,
    probabilities: np.ndarray,
    thresholds: Sequence[float],
    most_labels: int | None,
    count: int,
) -> pl.DataFrame:
    """The photos that ``choose`` chooses, for the labels that most photos carry.

    A label that is neither true nor predicted anywhere has no photo to show and is left out.

    Args:
        truth, predicted: bool, (rows, labels).
        probabilities: float, (rows, labels).
        most_labels: at most so many labels; None: all.

    Returns:
        ``label`` (its column), ``kind``, ``row``; most frequent labels first.
    """
    carried = truth.sum(axis=0)
    order = np.argsort(-carried, kind="stable")
    shown = order[(carried + predicted.sum(axis=0))[order] > 0][:most_labels]
    found = [
        (int(label), kind, int(row))
        for label in shown
        for kind, rows in choose(
            truth[:, label], predicted[:, label], probabilities[:, label], thresholds[label], count
        ).items()
        for row in rows
    ]
    schema = {"label": pl.Int64, "kind": pl.String, "row": pl.Int64}
    return pl.DataFrame(found, schema, orient="row")

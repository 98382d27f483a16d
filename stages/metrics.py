"""Multi-label metrics on plain arrays, and ``metrics/NAME.json``.

``truth`` and ``predicted`` are boolean arrays (rows × labels), ``probabilities`` floats of the
same shape. So is ``known``, boolean: the decisions of which the truth is known; None: all. The
others count nowhere, nor does a row or a label of which nothing is known. Figures agree with
scikit-learn's of the same name (``zero_division=0``); they are counted here because labels that
are not known count nowhere.
"""

from pathlib import Path
from typing import Any

import numpy as np

from stages.files import write_json

FOLDER = Path("metrics")
# What DVC shows of all figures (dvc metrics show, dvc exp show); more would not fit a terminal.
HEADLINE = ("micro_f1", "macro_f1")


def write(stage: str, figures: dict[str, Any]) -> None:
    """Writes ``metrics/STAGE.json``; floats are rounded to six places, so that diffs read well.

    An empty list is written as null: DVC looks for something to draw in lists.
    """
    write_json(FOLDER / f"{stage}.json", _rounded(figures))


def pooled(known: np.ndarray | None, *arrays: np.ndarray) -> list[np.ndarray]:
    """Each array's decisions that are known, in one row, (decisions,); the arrays of one shape."""
    return [array.ravel() if known is None else array[known] for array in arrays]


def counts(
    truth: np.ndarray, predicted: np.ndarray, known: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True positives, false positives and false negatives of each label: three (labels,) arrays."""
    if known is not None:
        truth, predicted = truth & known, predicted & known
    return (
        (truth & predicted).sum(axis=0),
        (~truth & predicted).sum(axis=0),
        (truth & ~predicted).sum(axis=0),
    )


def ratio(numerator: np.ndarray | float, denominator: np.ndarray | float) -> np.ndarray:
    """``numerator / denominator``, 0 where the denominator is 0."""
    numerator, denominator = np.broadcast_arrays(
        np.asarray(numerator, float), np.asarray(denominator, float)
    )
    quotient = np.zeros(numerator.shape)
    np.divide(numerator, denominator, out=quotient, where=denominator > 0)
    return quotient


def micro_f1(truth: np.ndarray, predicted: np.ndarray, known: np.ndarray | None = None) -> float:
    """F1 of all decisions together: 2·TP / (2·TP + FP + FN)."""
    tp, fp, fn = (part.sum() for part in counts(truth, predicted, known))
    return float(ratio(2 * tp, 2 * tp + fp + fn))


def macro_f1(truth: np.ndarray, predicted: np.ndarray, known: np.ndarray | None = None) -> float:
    """Mean of the labels' F1; a label that is neither true nor predicted anywhere counts 0."""
    each = f1_of_labels(truth, predicted, known)
    return float((each if known is None else each[known.any(axis=0)]).mean())


def f1_of_labels(
    truth: np.ndarray, predicted: np.ndarray, known: np.ndarray | None = None
) -> np.ndarray:
    """Each label's F1, float (labels,); 0 where it is neither true nor predicted anywhere."""
    tp, fp, fn = counts(truth, predicted, known)
    return ratio(2 * tp, 2 * tp + fp + fn)


def subset_accuracy(
    truth: np.ndarray, predicted: np.ndarray, known: np.ndarray | None = None
) -> float:
    """Fraction of rows whose label set is exactly right, as far as it is known."""
    right = truth == predicted
    if known is not None:
        right = (right | ~known)[known.any(axis=1)]
    return float(right.all(axis=1).mean())


def hamming_loss(
    truth: np.ndarray, predicted: np.ndarray, known: np.ndarray | None = None
) -> float:
    """Fraction of single decisions that are wrong."""
    return float(pooled(known, truth != predicted)[0].mean())


class Ranking:
    """One label's rows by falling score, for average precision and how far it is to be trusted.

    Args:
        truth: bool, (rows,).
        scores: float, (rows,).
        known: bool, (rows,), the rows that are ranked; None: all.

    Attributes:
        order: int, (ranked rows,), the highest score first.
        truth: bool, (ranked rows,), in that order.
        ends: int, (distinct scores,), the last place of each.
    """

    def __init__(
        self, truth: np.ndarray, scores: np.ndarray, known: np.ndarray | None = None
    ) -> None:
        order = np.argsort(-scores, kind="stable")
        self.order = order if known is None else order[known[order]]
        self.truth = truth[self.order]
        self.ends = np.flatnonzero(np.diff(scores[self.order], append=np.nan) != 0)

    def average_precision(self) -> float:
        """Σ (Rₙ − Rₙ₋₁)·Pₙ over the distinct scores, falling.

        Returns:
            A figure in [0, 1]; NaN where no row is true, since it is not defined there.
        """
        hits = np.cumsum(self.truth, dtype=float)[self.ends]
        if len(hits) == 0 or hits[-1] == 0:
            return float("nan")
        return float((np.diff(hits, prepend=0) / hits[-1] * ratio(hits, self.ends + 1)).sum())


def rankings(
    truth: np.ndarray, probabilities: np.ndarray, known: np.ndarray | None = None
) -> list[Ranking]:
    """Each label's ranking, in order."""
    of_labels = [None] * truth.shape[1] if known is None else known.T
    return [Ranking(*each) for each in zip(truth.T, probabilities.T, of_labels, strict=True)]


def mean_average_precision(
    truth: np.ndarray, probabilities: np.ndarray, known: np.ndarray | None = None
) -> float:
    """Mean of the labels' average precision, over the labels that are true somewhere."""
    each = average_precisions(truth, probabilities, known)
    return float(np.nanmean(each)) if not np.isnan(each).all() else 0.0


def average_precisions(
    truth: np.ndarray, probabilities: np.ndarray, known: np.ndarray | None = None
) -> np.ndarray:
    """Each label's average precision, (labels,); NaN for a label that is true nowhere."""
    return np.array([each.average_precision() for each in rankings(truth, probabilities, known)])


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_rounded(item) for item in value] or None
    if isinstance(value, float | np.floating):
        return round(float(value), 6)
    return value.item() if isinstance(value, np.generic) else value

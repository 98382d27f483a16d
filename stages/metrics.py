"""Multi-label metrics on plain arrays, and ``metrics/NAME.json``.

``truth`` and ``predicted`` are boolean arrays (rows × labels), ``probabilities`` floats of the
same shape. Figures agree with scikit-learn's of the same name (``zero_division=0``); they are
counted here because the bootstrap needs them thousands of times from the same sums.
"""

from pathlib import Path
from typing import Any

import numpy as np

from stages.files import write_json

FOLDER = Path("metrics")


def write(stage: str, figures: dict[str, Any]) -> None:
    """Writes ``metrics/STAGE.json``; floats are rounded to six places, so that diffs read well."""
    write_json(FOLDER / f"{stage}.json", _rounded(figures))


def counts(truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True positives, false positives and false negatives of each label: three (labels,) arrays."""
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
    return np.divide(numerator, denominator, out=np.zeros(numerator.shape), where=denominator > 0)


def micro_f1(truth: np.ndarray, predicted: np.ndarray) -> float:
    """F1 of all decisions together: 2·TP / (2·TP + FP + FN)."""
    tp, fp, fn = (part.sum() for part in counts(truth, predicted))
    return float(ratio(2 * tp, 2 * tp + fp + fn))


def macro_f1(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Mean of the labels' F1; a label that is neither true nor predicted anywhere counts 0."""
    tp, fp, fn = counts(truth, predicted)
    return float(ratio(2 * tp, 2 * tp + fp + fn).mean())


def subset_accuracy(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Fraction of rows whose label set is exactly right."""
    return float((truth == predicted).all(axis=1).mean())


def hamming_loss(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Fraction of single decisions that are wrong."""
    return float((truth != predicted).mean())


def average_precision(
    truth: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None
) -> float:
    """Average precision of one label: Σ (Rₙ − Rₙ₋₁)·Pₙ over the distinct scores, falling.

    Args:
        truth: bool, (rows,).
        scores: float, (rows,).
        weights: float, (rows,); None: every row counts once.

    Returns:
        A figure in [0, 1]; NaN where no row is true, since it is not defined there.
    """
    order = np.argsort(-scores, kind="stable")
    weights = np.ones(len(scores)) if weights is None else weights[order]
    hits = np.cumsum(truth[order] * weights)
    if len(hits) == 0 or hits[-1] == 0:
        return float("nan")
    last_of_ties = np.append(np.diff(scores[order]) != 0, True)
    hits, seen = hits[last_of_ties], np.cumsum(weights)[last_of_ties]
    recall_steps = np.diff(hits, prepend=0) / hits[-1]
    return float((recall_steps * ratio(hits, seen)).sum())


def mean_average_precision(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean of the labels' average precision, over the labels that are true somewhere."""
    each = [average_precision(truth[:, i], probabilities[:, i]) for i in range(truth.shape[1])]
    return float(np.nanmean(each)) if not np.isnan(each).all() else 0.0


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_rounded(item) for item in value]
    if isinstance(value, float | np.floating):
        return round(float(value), 6)
    return value.item() if isinstance(value, np.generic) else value

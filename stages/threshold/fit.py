"""Temperature and thresholds as ``threshold.*`` ask for them, also such that no row profits.

``truth`` is bool, ``probabilities`` and ``scores`` are float, all (rows, labels). ``known``, bool
of the same shape, are the decisions of which the truth is known, which alone count; None: all.
"""

from typing import Protocol

import numpy as np

from stages.metrics import pooled
from stages.threshold import calibration, search

FOLDS = 5


class Finding(Protocol):
    """What is asked for of the section ``threshold``, of this project or of an earlier state."""

    @property
    def scope(self) -> str: ...
    @property
    def metric(self) -> str: ...
    @property
    def shrinkage(self) -> float: ...
    @property
    def calibration(self) -> str: ...
    @property
    def seed(self) -> int: ...


def find_temperature(
    truth: np.ndarray,
    probabilities: np.ndarray,
    params: Finding,
    known: np.ndarray | None = None,
) -> float:
    """What to divide the logits by: 1 where ``params`` ask for no calibration."""
    if params.calibration == "none":
        return 1.0
    return calibration.find_temperature(*pooled(known, truth, probabilities))


def cross_calibrate(
    truth: np.ndarray,
    probabilities: np.ndarray,
    params: Finding,
    known: np.ndarray | None = None,
) -> np.ndarray:
    """Calibrated probabilities, float32 (rows, labels), none by a temperature that saw its row."""
    part = folds(len(truth), params)
    scaled = np.empty(truth.shape, np.float32)
    for fold in np.unique(part):
        others = part != fold
        temperature = find_temperature(
            truth[others], probabilities[others], params, _rows(known, others)
        )
        scaled[~others] = calibration.scaled(probabilities[~others], temperature)
    return scaled


def find(
    truth: np.ndarray, scores: np.ndarray, params: Finding, known: np.ndarray | None = None
) -> np.ndarray:
    """The thresholds that ``params`` ask for: float64 (labels,)."""
    overall = search.search(truth, scores, "global", params.metric, known)
    if params.scope == "global":
        return overall
    by_label = search.search(truth, scores, "label", params.metric, known)
    positives = (truth if known is None else truth & known).sum(axis=0)
    return search.shrink(by_label, overall, positives, params.shrinkage)


def folds(rows: int, params: Finding) -> np.ndarray:
    """Which fold of the cross-fitting each row is in: int (rows,)."""
    return np.random.default_rng(params.seed).permutation(rows) % FOLDS


def cross_fit(
    truth: np.ndarray, scores: np.ndarray, params: Finding, known: np.ndarray | None = None
) -> np.ndarray:
    """Decisions, bool (rows, labels), none by a threshold that has seen its row."""
    part = folds(len(truth), params)
    decided = np.zeros(truth.shape, bool)
    for fold in np.unique(part):
        others = part != fold
        thresholds = find(truth[others], scores[others], params, _rows(known, others))
        decided[~others] = scores[~others].astype(np.float64) >= thresholds
    return decided


def _rows(known: np.ndarray | None, rows: np.ndarray) -> np.ndarray | None:
    return None if known is None else known[rows]

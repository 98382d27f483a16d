"""Temperature and thresholds as ``threshold.*`` ask for them, also such that no row profits."""

import numpy as np

from stages.threshold import calibration, search
from stages.threshold.params import Threshold

FOLDS = 5


def find_temperature(truth: np.ndarray, probabilities: np.ndarray, params: Threshold) -> float:
    """What to divide the logits by: 1 where ``params`` ask for no calibration.

    ``truth`` is bool, ``probabilities`` float, both (rows, labels).
    """
    if params.calibration == "none":
        return 1.0
    return calibration.find_temperature(truth, probabilities)


def cross_calibrate(truth: np.ndarray, probabilities: np.ndarray, params: Threshold) -> np.ndarray:
    """Calibrated probabilities, float32 (rows, labels), none by a temperature that saw its row."""
    part = folds(len(truth), params)
    scaled = np.empty(truth.shape, np.float32)
    for fold in np.unique(part):
        others = part != fold
        temperature = find_temperature(truth[others], probabilities[others], params)
        scaled[~others] = calibration.scaled(probabilities[~others], temperature)
    return scaled


def find(truth: np.ndarray, scores: np.ndarray, params: Threshold) -> np.ndarray:
    """The thresholds that ``params`` ask for: float64 (labels,)."""
    overall = search.search(truth, scores, "global", params.metric)
    if params.scope == "global":
        return overall
    by_label = search.search(truth, scores, "label", params.metric)
    return search.shrink(by_label, overall, truth.sum(axis=0), params.shrinkage)


def folds(rows: int, params: Threshold) -> np.ndarray:
    """Which fold of the cross-fitting each row is in: int (rows,)."""
    return np.random.default_rng(params.seed).permutation(rows) % FOLDS


def cross_fit(truth: np.ndarray, scores: np.ndarray, params: Threshold) -> np.ndarray:
    """Decisions, bool (rows, labels), none by a threshold that has seen its row."""
    part = folds(len(truth), params)
    decided = np.zeros(truth.shape, bool)
    for fold in np.unique(part):
        thresholds = find(truth[part != fold], scores[part != fold], params)
        decided[part == fold] = scores[part == fold].astype(np.float64) >= thresholds
    return decided

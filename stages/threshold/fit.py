"""Thresholds as ``threshold.*`` ask for them, and decisions that profit from none of their rows."""

import numpy as np

from stages.params import Threshold
from stages.threshold import search

FOLDS = 5


def find(truth: np.ndarray, scores: np.ndarray, params: Threshold) -> np.ndarray:
    """The thresholds that ``params`` ask for: float64 (labels,)."""
    overall = search.search(truth, scores, "global", params.metric)
    if params.scope == "global":
        return overall
    own = search.search(truth, scores, "label", params.metric)
    return search.shrink(own, overall, truth.sum(axis=0), params.shrinkage)


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

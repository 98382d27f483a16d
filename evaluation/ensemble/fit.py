"""The weights of the members and the thresholds of their mixture, found on validation rows."""

from dataclasses import dataclass, replace

import numpy as np

from evaluation.ensemble.weights import find_weights, mix
from stages.threshold.fit import find, folds
from stages.threshold.params import Threshold


@dataclass(frozen=True)
class Rows:
    """Rows with known labels: ``truth`` bool (rows, labels), ``probabilities`` float32 (members,
    rows, labels); ``known`` bool (rows, labels), which of the labels are, None: all."""

    truth: np.ndarray
    probabilities: np.ndarray
    known: np.ndarray | None = None

    def of(self, rows: np.ndarray) -> "Rows":
        """Those where ``rows``, bool (rows,), is true."""
        known = None if self.known is None else self.known[rows]
        return Rows(self.truth[rows], self.probabilities[:, rows], known)

    def of_member(self, place: int) -> "Rows":
        """With the probabilities of one member alone."""
        return replace(self, probabilities=self.probabilities[place : place + 1])

    def of_mean(self) -> "Rows":
        """With the plain mean of the members as the only one."""
        return replace(self, probabilities=self.probabilities.mean(axis=0, keepdims=True))


@dataclass(frozen=True)
class Ensemble:
    """``weights`` float64 (members,), ``thresholds`` float64 (labels,)."""

    weights: np.ndarray
    thresholds: np.ndarray

    def predict(self, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """float (members, rows, labels) → probabilities, float32, and decisions, bool, both (rows,
        labels)."""
        mixed = mix(self.weights, probabilities)
        # In double precision, as the thresholds were found.
        return mixed, mixed.astype(np.float64) >= self.thresholds


def fit(rows: Rows, params: Threshold) -> Ensemble:
    """The weights of the least log loss on ``rows``, and then the thresholds ``params`` ask for."""
    weights = find_weights(rows.truth, rows.probabilities, rows.known)
    mixed = mix(weights, rows.probabilities)
    return Ensemble(weights, find(rows.truth, mixed, params, rows.known))


def cross_fit(rows: Rows, params: Threshold) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities, float32, and decisions, bool, both (rows, labels), none by weights or
    thresholds that saw its row.

    The parts are those of the stage threshold, so that one member alone is measured as there.
    """
    part = folds(len(rows.truth), params)
    mixed, decided = np.empty(rows.truth.shape, np.float32), np.empty(rows.truth.shape, bool)
    for fold in np.unique(part):
        held_out = part == fold
        ensemble = fit(rows.of(~held_out), params)
        mixed[held_out], decided[held_out] = ensemble.predict(rows.probabilities[:, held_out])
    return mixed, decided

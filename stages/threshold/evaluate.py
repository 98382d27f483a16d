"""What decisions are worth: the figures of ``metrics/threshold.json``."""

from typing import Any

import numpy as np

from stages.intervals import by_label, reports
from stages.threshold.decision import Decision
from stages.threshold.fit import cross_fit
from stages.threshold.params import Threshold


def evaluate(
    truth: np.ndarray,
    scores: np.ndarray,
    decision: Decision,
    params: Threshold,
    known: np.ndarray | None = None,
) -> dict[str, Any]:
    """What ``metrics/threshold.json`` holds, but for the calibration.

    ``without_model`` is what one reaches by the labels' rates alone. ``found`` flatters: the
    thresholds were chosen on these very rows. In ``cross_fitted`` each fifth of the rows is decided
    by thresholds found on the other four.

    Args:
        truth: bool, (rows, labels).
        scores: float, (rows, labels): calibrated probabilities.
        known: bool, (rows, labels), the decisions of which the truth is known; None: all.
    """
    decided = {
        "at_half": scores >= 0.5,
        "found": decision.decide(scores),
        "cross_fitted": cross_fit(truth, scores, params, known),
    }
    metrics = reports(truth, scores, list(decided.values()), params.bootstrap, params.seed, known)
    frequent, reached = without_model(truth, known)
    of_labels = by_label(truth, scores, decided["found"], known)
    return {
        "threshold": dict(zip(decision.labels, decision.thresholds, strict=True))
        if params.scope == "label"
        else decision.thresholds[0],
        **dict(zip(decided, metrics, strict=True)),
        "without_model": {"labels": frequent, "micro_f1": reached},
        "labels": {
            label: {name: column[i] for name, column in of_labels.items()}
            for i, label in enumerate(decision.labels)
        },
    }


def without_model(truth: np.ndarray, known: np.ndarray | None = None) -> tuple[int, float]:
    """How many of the most frequent labels are best given to every photo, and their micro-F1.

    Args:
        truth: bool, (rows, labels).
        known: bool, (rows, labels), the decisions of which the truth is known; None: all.
    """
    counted = np.ones_like(truth) if known is None else known
    positives, rows = (truth & counted).sum(axis=0), counted.sum(axis=0)
    order = np.argsort(-positives / np.maximum(rows, 1), kind="stable")
    given = np.cumsum(rows[order]) + positives.sum()
    scores = 2 * np.cumsum(positives[order]) / np.maximum(given, 1)
    best = int(scores.argmax())
    return best + 1, float(scores[best])

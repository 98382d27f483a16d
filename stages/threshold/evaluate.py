"""What decisions are worth: the figures of ``metrics/threshold.json``."""

from typing import Any

import numpy as np

from stages.intervals import reports
from stages.threshold.decision import Decision
from stages.threshold.figures import of_labels, without_model
from stages.threshold.fit import cross_fit
from stages.threshold.params import Threshold


def evaluate(
    truth: np.ndarray,
    scores: np.ndarray,
    decision: Decision,
    params: Threshold,
    known: np.ndarray | None = None,
) -> dict[str, Any]:
    """What ``metrics/threshold.json`` holds, but for the calibration and the captions alone.

    ``found`` flatters: the thresholds were chosen on these very rows. In ``cross_fitted`` each
    fifth of the rows is decided by thresholds found on the other four, and the figures of labels
    are of these decisions.

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
    drawn = params.bootstrap, params.seed
    figures = reports(truth, scores, list(decided.values()), *drawn, known)
    return {
        "threshold": dict(zip(decision.labels, decision.thresholds, strict=True))
        if params.scope == "label"
        else decision.thresholds[0],
        **dict(zip(decided, figures, strict=True)),
        "without_model": without_model(truth, known),
        **of_labels(truth, scores, decided["cross_fitted"], decision.labels, *drawn, known),
    }

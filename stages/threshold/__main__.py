"""threshold: validation probabilities → the thresholds of the decision, and what they are worth."""

from pathlib import Path
from typing import Any

import numpy as np

from stages import UserError, run
from stages import metrics as figures
from stages.files import write_csv
from stages.ingest.records import label_matrix
from stages.params import Threshold, read
from stages.threshold import decision as decisions
from stages.threshold import search
from stages.threshold.decision import Decision
from stages.threshold.fit import cross_fit, find
from stages.threshold.intervals import by_label, reports
from stages.train import probabilities

CURVES = Path("metrics/threshold")
CURVE_POINTS = 101


def main() -> None:
    params = read(Threshold)
    table, labels = probabilities.read(), probabilities.read_label_names()
    if len(table) == 0:
        raise UserError(f"{probabilities.VALIDATION} has no row; the split left none to validate")
    truth = label_matrix(table["labels"], labels)
    scores = table["probabilities"].to_numpy()

    thresholds = find(truth, scores, params)
    decision = Decision(labels, thresholds.tolist(), params.scope, params.metric, params.shrinkage)
    decisions.write(decision)
    write_curves(truth, scores, decision)
    figures.write("threshold", measure(truth, scores, decision, params))


def measure(
    truth: np.ndarray, scores: np.ndarray, decision: Decision, params: Threshold
) -> dict[str, Any]:
    """What ``metrics/threshold.json`` says.

    ``found`` flatters: the thresholds were chosen on these very rows. In ``cross_fitted`` each
    fifth of the rows is decided by thresholds found on the other four.
    """
    half, found = scores >= 0.5, decision.apply(scores)
    fitted = cross_fit(truth, scores, params)
    each = by_label(truth, scores, found)
    said = reports(truth, scores, [half, found, fitted], params.bootstrap, params.seed)
    return {
        "threshold": dict(zip(decision.labels, decision.thresholds, strict=True))
        if params.scope == "label"
        else decision.thresholds[0],
        **dict(zip(("at_half", "found", "cross_fitted"), said, strict=True)),
        "labels": {
            label: {name: column[i] for name, column in each.items()}
            for i, label in enumerate(decision.labels)
        },
    }


def write_curves(truth: np.ndarray, scores: np.ndarray, decision: Decision) -> None:
    """``curve.csv``: F1 by threshold; ``labels.csv``: each label's figures."""
    curve = search.curve(truth, scores, CURVE_POINTS)
    write_csv(CURVES / "curve.csv", curve, _rows(curve))
    each = {"label": np.array(decision.labels), "threshold": np.array(decision.thresholds)}
    each |= by_label(truth, scores, decision.apply(scores))
    write_csv(CURVES / "labels.csv", each, _rows(each))


def _rows(columns: dict[str, np.ndarray]) -> list[list[Any]]:
    return [
        [round(value, 6) if isinstance(value, float) else value for value in row]
        for row in zip(*(column.tolist() for column in columns.values()), strict=True)
    ]


if __name__ == "__main__":
    run(main)

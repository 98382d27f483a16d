"""threshold: validation probabilities → temperature and thresholds, and what they are worth."""

from pathlib import Path
from typing import Any

import numpy as np

from stages import UserError, run
from stages import metrics as figures
from stages.files import write_csv
from stages.ingest.records import label_matrix
from stages.intervals import by_label, reports
from stages.network import probabilities
from stages.params import read
from stages.threshold import calibration, search
from stages.threshold import decision as decisions
from stages.threshold.decision import Decision
from stages.threshold.fit import cross_calibrate, cross_fit, find, find_temperature
from stages.threshold.params import Threshold

CURVES = Path("metrics/threshold")
CURVE_POINTS = 101


def main() -> None:
    params = read(Threshold)
    table, labels = probabilities.read(), probabilities.read_label_names()
    if len(table) == 0:
        raise UserError(f"{probabilities.VALIDATION} has no row; the split left none to validate")
    truth = label_matrix(table["labels"], labels)
    said = table["probabilities"].to_numpy()

    temperature = find_temperature(truth, said, params)
    scores = calibration.scaled(said, temperature)
    thresholds = find(truth, scores, params).tolist()
    how = (params.scope, params.metric, params.shrinkage)
    decision = Decision(labels, thresholds, *how, temperature)
    decisions.write(decision)
    write_curves(truth, scores, decision)
    calibrated = {"before": said, "after": cross_calibrate(truth, said, params)}
    write_reliability(truth, calibrated)
    told = measure(truth, scores, decision, params)
    told["calibration"] = {"temperature": temperature} | {
        when: calibration.measure(truth, each) for when, each in calibrated.items()
    }
    figures.write("threshold", told)


def measure(
    truth: np.ndarray, scores: np.ndarray, decision: Decision, params: Threshold
) -> dict[str, Any]:
    """What ``metrics/threshold.json`` says of decisions on ``scores``, calibrated probabilities.

    ``found`` flatters: the thresholds were chosen on these very rows. In ``cross_fitted`` each
    fifth of the rows is decided by thresholds found on the other four.
    """
    half, found = scores >= 0.5, decision.decide(scores)
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
    each |= by_label(truth, scores, decision.decide(scores))
    write_csv(CURVES / "labels.csv", each, _rows(each))


def write_reliability(truth: np.ndarray, calibrated: dict[str, np.ndarray]) -> None:
    """``reliability.csv``: what was said and how often it was true, before and after scaling.

    After it, each fifth of the rows is scaled by the temperature of the other four.
    """
    tables = {when: calibration.reliability(truth, said) for when, said in calibrated.items()}
    header = ["calibration", *tables["before"]]
    rows = [[when, *row] for when, table in tables.items() for row in _rows(table) if row[-1]]
    write_csv(CURVES / "reliability.csv", header, rows)


def _rows(columns: dict[str, np.ndarray]) -> list[list[Any]]:
    return [
        [round(value, 6) if isinstance(value, float) else value for value in row]
        for row in zip(*(column.tolist() for column in columns.values()), strict=True)
    ]


if __name__ == "__main__":
    run(main)

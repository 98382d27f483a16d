"""The tables of ``metrics/threshold``, which ``dvc plots`` draws."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from stages.files import write_csv
from stages.threshold import calibration, search
from stages.threshold.decision import Decision

FOLDER = Path("metrics/threshold")
POINTS = 101


def write(
    truth: np.ndarray,
    scores: np.ndarray,
    decision: Decision,
    figures: dict[str, dict[str, Any]],
    known: np.ndarray | None = None,
) -> None:
    """``curve.csv``: F1 by threshold; ``labels.csv``: each label's threshold and metrics.

    Args:
        truth: bool, (rows, labels).
        scores: float, (rows, labels): calibrated probabilities.
        figures: of each label, all of the same names; what is None becomes an empty cell.
        known: bool, (rows, labels), the decisions of which the truth is known; None: all.
    """
    curve = search.curve(truth, scores, POINTS, known)
    write_csv(FOLDER / "curve.csv", curve, _rows(curve))
    header = ["label", "threshold", *next(iter(figures.values()))]
    rows = (
        [label, threshold, *figures[label].values()]
        for label, threshold in zip(decision.labels, decision.thresholds, strict=True)
    )
    write_csv(FOLDER / "labels.csv", header, map(_rounded, rows))


def write_reliability(truth: np.ndarray, calibrated: dict[str, np.ndarray]) -> None:
    """``reliability.csv``: the probabilities given, and how often they are true.

    Args:
        truth: bool, of any shape.
        calibrated: ``before`` scaling and ``after`` it: float, of the same shape.
    """
    tables = {when: calibration.reliability(truth, each) for when, each in calibrated.items()}
    header = ["calibration", *tables["before"]]
    rows = [[when, *row] for when, table in tables.items() for row in _rows(table) if row[-1]]
    write_csv(FOLDER / "reliability.csv", header, rows)


def _rows(columns: dict[str, np.ndarray]) -> list[list[Any]]:
    return [
        _rounded(row) for row in zip(*(column.tolist() for column in columns.values()), strict=True)
    ]


def _rounded(row: Iterable[Any]) -> list[Any]:
    return [round(value, 6) if isinstance(value, float) else value for value in row]

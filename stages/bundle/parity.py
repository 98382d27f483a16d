"""Whether a bundle answers for validation photos as the trained network did."""

from typing import Any, NamedTuple

import numpy as np
import polars as pl

from stages import metrics
from stages.ingest import records
from stages.network.probabilities import read_probabilities
from stages.threshold.decision import Decision


class Answers(NamedTuple):
    """Validation photos, what is true of them, and what the trained network answered.

    Attributes:
        rows: their records.
        truth: bool (rows, labels).
        probabilities: calibrated, float32 (rows, labels).
        known: bool (rows, labels), of which the truth is known; None: all.
    """

    rows: pl.DataFrame
    truth: np.ndarray
    probabilities: np.ndarray
    known: np.ndarray | None


def answers(decision: Decision) -> Answers:
    """Those of ``data/validation.parquet``."""
    table = read_probabilities()
    rows = table.select("id").join(records.read(), on="id", how="left", maintain_order="left")
    truth = records.label_matrix(table["labels"], decision.labels)
    known = records.known_matrix(table["unknown"], decision.labels)
    return Answers(rows, truth, decision.calibrate(table["probabilities"].to_numpy()), known)


def without_captions(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(caption=pl.lit(None, pl.String))


def measure(decision: Decision, expected: Answers, probabilities: np.ndarray) -> dict[str, float]:
    """How good calibrated probabilities are, decided by the thresholds of ``decision``.

    ``probabilities`` are of the photos of ``expected``: float32 (rows, labels).
    """
    truth, known, predicted = expected.truth, expected.known, decision.decide(probabilities)
    return {
        "micro_f1": metrics.micro_f1(truth, predicted, known),
        "macro_f1": metrics.macro_f1(truth, predicted, known),
        "mean_average_precision": metrics.mean_average_precision(truth, probabilities, known),
    }


def compare(decision: Decision, expected: Answers, probabilities: np.ndarray) -> dict[str, Any]:
    """The metrics before and after, and what the two probabilities differ by."""
    return {
        "before": measure(decision, expected, expected.probabilities),
        "after": measure(decision, expected, probabilities),
    } | differences(decision, expected.probabilities, probabilities)


def differences(decision: Decision, one: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """Between calibrated probabilities, float32 (rows, labels), and the decisions they lead to."""
    changed = decision.decide(one) != decision.decide(other)
    return {
        "max_difference": float(np.abs(one - other).max(initial=0)),
        "changed_decisions": float(changed.mean()) if changed.size else 0.0,
    }


def holds(compared: dict[str, Any], tolerance: float) -> bool:
    """Whether neither a metric nor the share of changed decisions goes beyond ``tolerance``."""
    before, after = compared["before"], compared["after"]
    changes = [abs(before[name] - after[name]) for name in before]
    return bool(max(*changes, compared["changed_decisions"]) <= tolerance)

"""The gain over another revision of the project, on the same photos.

What the other said of them is looked for in DVC's cache: the figures in Git do not tell whether
both are wrong about the same photos.
"""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl

from stages.ingest import records
from stages.intervals import Answer, Figure, paired_gain
from stages.network.probabilities import VALIDATION, read_label_names, read_probabilities
from stages.params import load
from stages.report.summary import METRICS, Against, Measured
from stages.report.validation import Validation, known_matrix
from stages.threshold import calibration
from stages.threshold.fit import Finding, cross_fit, find_temperature

PREDICTIONS = Path("data/predictions.parquet")  # of predict, which is no room below this one
APART = 0.0005  # more, and the other's thresholds are found otherwise now than they were then

Both = tuple[np.ndarray, np.ndarray, Answer, Answer]  # truth, known, theirs, ours


def gains(
    on: Measured, figures: dict[str, Any], other: Against | None, validation: Validation
) -> dict[str, Figure]:
    """The gain in each of ``METRICS`` with its interval; what cannot be paired is left out.

    Args:
        figures: the metrics of this run, by the photos of ``on``.
    """
    if other is None or not other.metrics:
        return {}
    both = of_holdout(other) if on.is_holdout else of_validation(other, validation)
    if both is None:
        return {}
    truth, known, theirs, ours = both
    found = {name: paired_gain(truth, theirs, ours, name, known) for name in METRICS}
    return {
        name: gain
        for name, gain in found.items()
        if abs(figures[name]["value"] - other.metrics[name]["value"] - gain["value"]) < APART
    }


def of_holdout(other: Against) -> Both | None:
    """Both answers to the photos that nothing was chosen by, as each bundle gave them."""
    path = other.revision.output("predict", PREDICTIONS)
    names = read_label_names(PREDICTIONS)
    if path is None or read_label_names(path) != names:
        return None
    here, there = (_labelled(each) for each in (PREDICTIONS, path))
    if here["id"].to_list() != there["id"].to_list():
        return None
    truth, known = records.label_matrix(here["labels"], names), known_matrix(here["unknown"], names)
    theirs, ours = (
        (table["probabilities"].to_numpy(), records.label_matrix(table["predicted"], names))
        for table in (there, here)
    )
    return truth, known, theirs, ours


def of_validation(other: Against, validation: Validation) -> Both | None:
    """Both answers to validation's photos, each fifth decided by thresholds found on the others.

    So are the figures; either by its own ``threshold.*``.
    """
    path = other.revision.output("train", VALIDATION)
    if path is None or read_label_names(path) != validation.names:
        return None
    table = read_probabilities(path)
    if table["id"].to_list() != validation.photos["id"].to_list():
        return None
    truth, known, scores = validation.truth, validation.known, validation.probabilities
    threshold = _params(other.revision.yaml("params.yaml").get("threshold", {}))
    given = table["probabilities"].to_numpy()
    scaled = calibration.scaled(given, find_temperature(truth, given, threshold, known))
    theirs = scaled, cross_fit(truth, scaled, threshold, known)
    return truth, known, theirs, (scores, cross_fit(truth, scores, _params({}), known))


def _labelled(path: Path) -> pl.DataFrame:
    return read_probabilities(path).filter(pl.col("labels").is_not_null())


def _params(theirs: dict[str, Any]) -> Finding:
    """The section ``threshold``, with what ``theirs`` has of it."""
    params: Any = SimpleNamespace(**(load()["threshold"] | theirs))
    return params

"""What the page begins with: what this model is, how good, against which other, at what cost."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from stages import metrics
from stages.ingest.records import RECORDS
from stages.params import flatten, load
from stages.report import revision
from stages.report.revision import Revision

FOLDS = Path("data/folds.parquet")
ABSENT = "(not there)"  # a parameter, in the other revision
NO_PART = ("predict", "retrain")  # sections that change nothing the page shows
METRICS = {
    "micro_f1": "F1, all labels together",
    "micro_precision": "Precision",
    "micro_recall": "Recall",
    "macro_f1": "F1, mean of the labels",
    "mean_average_precision": "Mean average precision",
    "subset_accuracy": "Photos with all labels right",
}


@dataclass(frozen=True)
class Measured:
    """What the page begins with was measured on: the holdout, or validation where there is none.

    Attributes:
        is_holdout: whether nothing was chosen by these photos.
        stage: ``metrics/STAGE.json`` has the figures, of labels and without the network, too …
        key: … and, there, the metrics with their intervals.
    """

    is_holdout: bool
    stage: str
    key: str

    def figures(self) -> dict[str, Any]:
        """The content of the file."""
        return figures_of(self.stage)


HOLDOUT = Measured(True, "predict", "holdout")
VALIDATION = Measured(False, "threshold", "cross_fitted")


def figures_of(stage: str) -> dict[str, Any]:
    """The content of ``metrics/STAGE.json``."""
    return json.loads((metrics.FOLDER / f"{stage}.json").read_text("utf-8"))


def measured() -> Measured:
    """The holdout, where photos that predict was asked about have known labels."""
    return HOLDOUT if HOLDOUT.key in HOLDOUT.figures() else VALIDATION


@dataclass(frozen=True)
class Against:
    """The run that this one is compared with.

    Attributes:
        revision: of the project.
        metrics: as in the file of what this run was measured on.
        train: as in ``metrics/train.json``.
        same_photos: whether it was measured on the same photos; None: not known.
    """

    revision: Revision
    metrics: dict[str, Any]
    train: dict[str, Any]
    same_photos: bool | None


def run_name() -> tuple[str, str]:
    """What the run is, and its name: a DVC experiment, or the branch that is checked out."""
    if name := os.environ.get("DVC_EXP_NAME"):
        return "Experiment", name
    branch = revision.branch()
    return ("Branch", branch) if branch else ("Folder", Path.cwd().name)


def against(name: str | None, on: Measured) -> Against | None:
    """The revision ``name`` and its figures; None where it is not there, or none is wanted."""
    other = revision.find(name) if name else None
    if other is None:
        return None
    figures = other.json(f"metrics/{on.stage}.json").get(on.key, {})
    same_photos = same_file(other, "split", FOLDS)
    if on.is_holdout:  # the test photos are in the records alone, which may differ elsewhere
        same_photos = (same_photos and same_file(other, "ingest", RECORDS)) or None
    return Against(other, figures, other.json("metrics/train.json"), same_photos)


def same_file(other: Revision, stage: str, file: Path) -> bool | None:
    """Whether what ``stage`` wrote to ``file`` is the same there; None: not known."""
    outs = other.yaml("dvc.lock").get("stages", {}).get(stage, {}).get("outs", [])
    hashes = [out.get("md5") for out in outs if out.get("path") == str(file)]
    md5 = hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()
    return hashes == [md5] if hashes else None


def headline(figures: dict[str, Any], other: Against | None) -> pl.DataFrame:
    """The metrics of this run, beside those of the other.

    Args:
        figures: as ``cross_fitted`` in ``metrics/threshold.json``.

    Returns:
        For each of ``METRICS`` a row: ``metric`` (in words), ``value``, ``low``, ``high``; and
        ``other``, ``other_low``, ``other_high``, ``gain``, null where there is no other.
    """
    rows = []
    for name, words in METRICS.items():
        ours, theirs = figures[name], (other.metrics if other else {}).get(name, {})
        bounds = [theirs.get(bound) for bound in ("value", "low", "high")]
        gain = ours["value"] - theirs["value"] if theirs else None
        rows.append((words, ours["value"], ours["low"], ours["high"], *bounds, gain))
    columns = ("value", "low", "high", "other", "other_low", "other_high", "gain")
    schema = {"metric": pl.String} | dict.fromkeys(columns, pl.Float64)
    return pl.DataFrame(rows, schema, orient="row")


def settings(committed: Revision | None, other: Against | None) -> list[dict[str, Any]]:
    """The parameters that differ from those committed, or from those of the other run.

    A project's defaults are its ``params.yaml`` as Git has it: there are none elsewhere.

    Returns:
        ``key``, ``value``, ``committed`` and ``other`` of each; the latter None without the two.
    """
    here = _shown_values(load())
    theirs = [
        _shown_values(each.yaml("params.yaml")) if each else None
        for each in (committed, other.revision if other else None)
    ]
    return [
        {
            "key": key,
            "value": value,
            "committed": theirs[0] and theirs[0].get(key, ABSENT),
            "other": theirs[1] and theirs[1].get(key, ABSENT),
        }
        for key, value in here.items()
        if any(each is not None and each.get(key, ABSENT) != value for each in theirs)
    ]


def _shown_values(content: dict[str, Any]) -> dict[str, Any]:
    """The parameters that the page shows, by their keys; of sources, those of the one in use."""
    sections = {name: value for name, value in content.items() if name not in NO_PART}
    values = flatten(sections)
    source = values.get("ingest.source")
    return {
        key: value
        for key, value in values.items()
        if key.count(".") < 2 or not key.startswith("ingest.") or key.split(".")[1] == source
    }

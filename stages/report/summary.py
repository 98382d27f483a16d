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
from stages.intervals import Figure
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
    then = other.hash_of(stage, file)
    now = hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()
    return then == now if then else None


def headline(
    figures: dict[str, Any], other: Against | None, gains: dict[str, Figure]
) -> pl.DataFrame:
    """The metrics of this run, beside those of the other.

    Args:
        figures: as ``cross_fitted`` in ``metrics/threshold.json``.
        gains: those that are known photo by photo.

    Returns:
        For each of ``METRICS`` a row: ``metric`` (in words); ``value``, ``low`` and ``high``, and
        ``reason`` where the two are null; ``other``, ``other_low``, ``other_high`` and ``gain``,
        null where there is no other; ``paired``, whether the gain is known photo by photo, and
        then ``gain_low`` and ``gain_high``.
    """
    rows = []
    for name, words in METRICS.items():
        ours, theirs = figures[name], (other.metrics if other else {}).get(name, {})
        gain = ours["value"] - theirs["value"] if theirs else None
        paired: Any = gains.get(name, {})
        row = {"metric": words, "reason": ours.get("reason")}
        row |= {end: ours[end] for end in ("value", "low", "high")}
        row |= {"other": theirs.get("value"), "gain": gain, "paired": bool(paired)}
        row |= {f"other_{end}": theirs.get(end) for end in ("low", "high")}
        rows.append(row | {f"gain_{end}": paired.get(end) for end in ("low", "high")})
    numbers = [f"{of}{end}" for of in ("", "other_", "gain_") for end in ("low", "high")]
    schema = {"metric": pl.String, "reason": pl.String, "paired": pl.Boolean}
    schema |= dict.fromkeys(["value", "other", "gain", *numbers], pl.Float64)
    return pl.DataFrame(rows, schema)


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

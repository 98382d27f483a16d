"""Two models, each asked about photos that neither was trained on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from evaluation.judge.drift import drift
from evaluation.judge.params import Retrain
from stages.bundle.bundle import BUNDLE
from stages.bundle.model import Model, load_model
from stages.ingest import naming, records
from stages.ingest.images import ImageStore
from stages.intervals import Report, f1_by_label, paired_gain, report
from stages.network.network import memory_for
from stages.params import read
from stages.predict.params import Predict
from stages.split import folds
from stages.threshold.fit import cross_fit
from stages.threshold.params import Threshold

METRICS = ("micro_f1", "macro_f1", "subset_accuracy", "mean_average_precision")


class Incomparable(Exception):
    """The two cannot be compared; the text says why, and what to do about it."""


@dataclass(frozen=True)
class Champion:
    """What a run of the pipeline left in a folder, by the names it has in ``data`` and ``models``.

    Attributes:
        bundle: folder, as ``stages.bundle.bundle`` describes it.
        records, folds: files; what it was trained on.
    """

    bundle: Path
    records: Path
    folds: Path

    @classmethod
    def at(cls, folder: Path) -> "Champion":
        files = (BUNDLE, records.RECORDS, folds.FOLDS)
        return cls(*(folder / path.name for path in files))


@dataclass(frozen=True)
class Side:
    """What one of the two says of the rows, with the columns of the challenger's labels.

    ``probabilities`` float32 and ``decided`` bool, both (rows, labels).
    """

    probabilities: np.ndarray
    decided: np.ndarray


def compare(champion: Champion, params: Retrain) -> dict[str, Any]:
    """The figures of both, by what they say of photos that neither was trained on."""
    names = records.read_label_names()
    rows = unseen(champion)
    truth = records.label_matrix(rows["labels"], names)
    known = records.known_matrix(rows["unknown"], names)
    in_use, trained = load_model(champion.bundle), load_model()
    sides = {
        "champion": in_use_side(in_use, rows, names),
        "challenger": new_side(trained, rows, truth, known),
    }
    old, new = ((side.probabilities, side.decided) for side in sides.values())
    return {
        "rows": len(rows),
        "metric": params.metric,
        "gain": paired_gain(truth, old, new, params.metric, known),
        **{who: measure(truth, side, known) for who, side in sides.items()},
        "labels": by_label(truth, names, sides, known),
        "drift": drift(
            records.read(champion.records),
            records.read(),
            records.read_label_names(champion.records),
            names,
            in_use.bundle.description,
        ),
    }


def unseen(champion: Champion) -> pl.DataFrame:
    """The challenger's validation records without those that the champion was trained on.

    Neither a photo's id nor its bytes are among those.

    Raises:
        Incomparable: no row is left.
    """
    theirs = folds.rows_of(pl.read_parquet(champion.records), folds.read(champion.folds), "train")
    rows = folds.rows_of(records.read(), folds.read(), "validation")
    for column in ("id", "sha256"):
        rows = rows.join(theirs, on=column, how="anti", maintain_order="left")
    if len(rows) == 0:
        raise Incomparable(
            "every validation photo of the new model is one that the model in use was trained on, "
            "so the two cannot be compared; keep split.* as it was, or add photos"
        )
    return rows


def new_side(model: Model, rows: pl.DataFrame, truth: np.ndarray, known: np.ndarray | None) -> Side:
    """The model of this project; of a fifth of the rows it decides by thresholds found on the rest.

    Its own thresholds were found on these very rows, and would flatter it.
    """
    probabilities = ask(model, rows)
    return Side(probabilities, cross_fit(truth, probabilities, read(Threshold), known))


def in_use_side(model: Model, rows: pl.DataFrame, names: list[str]) -> Side:
    """The model in use, with its thresholds; labels that it does not know it never says.

    Raises:
        Incomparable: it wants photos of another form than this project stores.
    """
    description, stored = model.bundle.description, ImageStore().form
    if description.sees_images and description.stored_size != stored.size:
        raise Incomparable(
            f"the model in use wants photos of {description.stored_size} pixels, and they are "
            f"stored with {stored.size} now (ingest.image_size), so the two cannot be compared"
        )
    if description.sees_images and description.depth != stored.depth:
        raise Incomparable(
            f"the model in use wants deep pixels scaled by {description.depth}, and they are "
            f"scaled by {stored.depth} now (ingest.depth), so the two cannot be compared"
        )
    if description.sees_images and description.fit != stored.fit:
        raise Incomparable(
            f"the model in use wants photos made square by {description.fit}, and that is done by "
            f"{stored.fit} now (ingest.fit), so the two cannot be compared"
        )
    probabilities = ask(model, rows)
    decided = model.decide(probabilities)
    # A model from before names were brought into one form may have others.
    places = {naming.clean(name): place for place, name in enumerate(description.labels)}
    return Side(
        *(
            np.stack(
                [
                    column[:, places[n]] if n in places else np.zeros_like(column[:, 0])
                    for n in names
                ],
                axis=1,
            )
            for column in (probabilities, decided)
        )
    )


def ask(model: Model, rows: pl.DataFrame) -> np.ndarray:
    """Calibrated probabilities, float32 (rows, labels of the model)."""
    batch_size = read(Predict).batch_size
    with memory_for("predict.batch_size", batch_size):
        return model.ask(rows, ImageStore(), batch_size, "judge")


def measure(truth: np.ndarray, side: Side, known: np.ndarray | None) -> Report:
    answers = (side.probabilities, side.decided)
    figures = report(truth, *answers, known)
    return {metric: figures[metric] for metric in METRICS}


def by_label(
    truth: np.ndarray,
    names: list[str],
    sides: dict[str, Side],
    known: np.ndarray | None,
) -> dict[str, Any]:
    """Of each label, how many of the rows carry it and each side's F1.

    Where no row carries it, F1 is None. Where some labels are not known there is also ``known``, of
    how many rows each is.
    """
    scores = {who: f1_by_label(truth, side.decided, known) for who, side in sides.items()}
    counts = {"count": truth if known is None else truth & known}
    counts |= {} if known is None else {"known": known}
    return {
        name: {what: int(of[:, i].sum()) for what, of in counts.items()}
        | {who: f1[i] if counts["count"][:, i].any() else None for who, f1 in scores.items()}
        for i, name in enumerate(names)
    }

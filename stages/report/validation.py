"""The validation photos and what the network said of them, which all of the page is about."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from stages import UserError
from stages.bundle.bundle import Bundle
from stages.ingest import records
from stages.network import probabilities


@dataclass(frozen=True)
class Validation:
    """A row a photo, in all of them the same.

    Attributes:
        names: of the labels.
        photos: ``id``, ``labels`` (the true ones), ``image``, ``caption``, ``width``, ``height``.
        truth, predicted: bool, (rows, labels).
        probabilities: float32, (rows, labels), calibrated.
        thresholds: of the labels.
    """

    names: list[str]
    photos: pl.DataFrame
    truth: np.ndarray
    predicted: np.ndarray
    probabilities: np.ndarray
    thresholds: list[float]


def read(bundle: Bundle) -> Validation:
    """``data/validation.parquet``, calibrated and decided as ``bundle`` does."""
    table, decision = probabilities.read(), bundle.content.decision
    if len(table) == 0:
        raise UserError(f"{probabilities.VALIDATION} has no row; the split left none to look at")
    known = records.read().select("id", "image", "caption", "width", "height")
    scores = decision.calibrate(table["probabilities"].to_numpy())
    return Validation(
        names=decision.labels,
        photos=table.select("id", "labels").join(known, on="id", how="left", maintain_order="left"),
        truth=records.label_matrix(table["labels"], decision.labels),
        predicted=decision.decide(scores),
        probabilities=scores,
        thresholds=decision.thresholds,
    )

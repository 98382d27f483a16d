"""The validation photos with their probabilities, which all of the page is about."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from stages import UserError
from stages.bundle.bundle import Bundle
from stages.ingest import records
from stages.network.probabilities import VALIDATION, read_probabilities


@dataclass(frozen=True)
class Validation:
    """The validation photos; row i of each table and array is of the same photo.

    Attributes:
        names: of the labels.
        photos: ``id``, ``labels`` (the true ones), ``image``, ``caption``, ``width``, ``height``.
        truth, predicted: bool, (rows, labels).
        known: bool, (rows, labels), the decisions of which the truth is known.
        probabilities: float32, (rows, labels), calibrated.
        thresholds: of the labels.
    """

    names: list[str]
    photos: pl.DataFrame
    truth: np.ndarray
    predicted: np.ndarray
    known: np.ndarray
    probabilities: np.ndarray
    thresholds: list[float]


def read_validation(bundle: Bundle) -> Validation:
    """``data/validation.parquet``, calibrated and decided as ``bundle`` does.

    Raises:
        UserError: it has no row.
    """
    table, decision = read_probabilities(), bundle.content.decision
    if len(table) == 0:
        raise UserError(f"{VALIDATION} has no row; the split left none to look at")
    columns = records.read().select("id", "image", "caption", "width", "height")
    probabilities = decision.calibrate(table["probabilities"].to_numpy())
    return Validation(
        names=decision.labels,
        photos=table.select("id", "labels").join(columns, "id", "left", maintain_order="left"),
        truth=records.label_matrix(table["labels"], decision.labels),
        predicted=decision.decide(probabilities),
        known=known_matrix(table["unknown"], decision.labels),
        probabilities=probabilities,
        thresholds=decision.thresholds,
    )


def known_matrix(unknown: pl.Series, names: list[str]) -> np.ndarray:
    """As that of ``stages.ingest.records``, but true throughout where all is known."""
    known = records.known_matrix(unknown, names)
    return np.ones((len(unknown), len(names)), bool) if known is None else known

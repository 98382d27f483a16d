"""The rows that training and validation see: of records in memory, or mapped from disk."""

from pathlib import Path

import polars as pl

from stages.ingest import records
from stages.ingest.images import ImageStore
from stages.network.batches import Rows
from stages.network.description import Description
from stages.network.network import rows_for
from stages.network.tokens import Words
from stages.split import folds

PARTS = ("train", "validation")


def read() -> tuple[pl.DataFrame, pl.DataFrame]:
    """The records of training and of validation."""
    everything, parts = records.read(), folds.read()
    training, validation = (folds.rows_of(everything, parts, part) for part in PARTS)
    return training, validation


def save(
    folder: Path,
    training: pl.DataFrame,
    validation: pl.DataFrame,
    label_names: list[str],
    description: Description,
    store: ImageStore,
    words: Words | None,
) -> None:
    """Writes what the network sees of both parts into ``folder``, but for the photos."""
    for name, part in zip(PARTS, (training, validation), strict=True):
        labels = records.label_matrix(part["labels"], label_names)
        known = records.known_matrix(part["unknown"], label_names)
        rows_for(description, part, store, words, labels, known).save(folder / name)


def mapped(folder: Path, description: Description, store: ImageStore) -> tuple[Rows, Rows]:
    """The rows of training and of validation that were saved in ``folder``."""
    photos = store if description.sees_images else None
    training, validation = (Rows.mapped(folder / part, photos) for part in PARTS)
    return training, validation

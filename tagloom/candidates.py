"""Photos without labels, files or a project's, and what a model says of them."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from stages import UserError
from stages.bundle.model import Model
from stages.bundle.selection import answers
from stages.ingest import records
from stages.ingest.images import ImageStore
from tagloom import inputs
from tagloom.inputs import Unreadable
from tagloom.prefetch import batches, with_progress


class Candidate(NamedTuple):
    """A photo that might be labelled.

    Attributes:
        id: as ``ingest`` calls it; of other photos, where they lie.
        path: of its file; of a project's, which may lie elsewhere, as far as is known.
    """

    id: str
    path: Path


class Batch(NamedTuple):
    """What a model says of n photos: probabilities, float32 (n, labels), and float32 features."""

    photos: list[Candidate]
    probabilities: np.ndarray
    features: np.ndarray


def of_files(
    model: Model,
    places: list[Path],
    below: Path | None,
    batch_size: int,
    unreadable: list[Unreadable],
) -> Iterator[Batch]:
    """Asks ``model`` of photos, folders and CSVs; adds to ``unreadable`` what gives no photo.

    Args:
        below: the folder that paths in CSVs, and all ids, start from; None: CSVs' own, and ids
            are as the photos were named.

    Raises:
        UserError: as ``inputs.count`` does.
    """
    total = inputs.count(places, below)
    bundle = model.bundle
    asked = inputs.captioned(inputs.asked(places, below), None, not bundle.description.sees_images)
    forms = {bundle.form} if bundle.description.sees_images else ()
    read = batches(asked, forms, batch_size, unreadable)
    for batch in with_progress(read, "next", total, quiet=False):
        if batch.asked:
            photos = [Candidate(_id(each, below), each.path) for each in batch.asked]
            yield Batch(photos, *model.features(batch.pixels.get(bundle.form), batch.captions))


def of_ingest(model: Model, below: Path, batch_size: int) -> Iterator[Batch]:
    """Asks ``model`` of the photos in the current project whose labels ``ingest`` does not know.

    Photos of test are none of them: nothing is learnt from these, whatever their labels.

    Args:
        below: the folder in which ids are paths.

    Raises:
        UserError: there are none, or they were stored for another network.
    """
    if not records.RECORDS.exists():
        raise UserError(
            f"there is no {records.RECORDS}; name photos or folders, or go to a project whose "
            "stage ingest has run"
        )
    rows = records.read().filter(pl.col("labels").is_null(), subset="train")
    if rows.is_empty():
        raise UserError(
            f"{records.RECORDS} has no photo to learn from whose labels are not known; name photos "
            "or folders"
        )
    store, bundle = ImageStore(), model.bundle
    if bundle.description.sees_images and store.form != bundle.form:
        raise UserError(
            f"{bundle.folder} takes photos as {bundle.form}, but ingest has stored {store.form}; "
            "run the pipeline first (dvc repro)"
        )
    parts = answers(model, rows, store, batch_size)
    for part, answer in zip(rows.iter_slices(batch_size), parts, strict=True):
        yield Batch([Candidate(id, below / id) for id in part["id"]], *answer)


def _id(photo: inputs.Asked, below: Path | None) -> str:
    if below is None:
        return photo.name
    return inputs.shown(os.path.relpath(photo.path, below))

"""Photos, batch by batch, with what a model says of them: here, or on the nodes of a cluster."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np

from stages import cluster
from stages.bundle.model import BATCHES, Model, Origin, model_of
from stages.ingest.form import Form
from tagloom.inputs import Asked, Unreadable
from tagloom.prefetch import batches


class Answered(NamedTuple):
    """A batch.

    Attributes:
        names: of the n photos that could be read.
        probabilities: float32 (n, labels), calibrated.
        taken: how many photos were tried: n, and those that could not be read.
    """

    names: list[str]
    probabilities: np.ndarray
    taken: int


def answered(
    model: Model,
    asked: Iterable[Asked | Unreadable],
    batch_size: int,
    unreadable: list[Unreadable],
) -> Iterator[Answered]:
    """Yields the photos ``batch_size`` at a time, in order; memory is that of a few batches.

    Args:
        unreadable: what cannot be read is added here.
    """
    if model.origin is None or not cluster.is_asked_for():
        yield from _answered(model, asked, batch_size, unreadable)
        return
    photos = iter(asked)
    pieces = iter(lambda: list(islice(photos, batch_size * BATCHES)), [])
    for found, bad in cluster.spread(_of_piece, (model.origin, batch_size), pieces):
        unreadable += bad
        yield from found


def _of_piece(
    common: tuple[Origin, int], photos: list[Asked | Unreadable]
) -> tuple[list[Answered], list[Unreadable]]:
    """What a core of a cluster does."""
    origin, batch_size = common
    unreadable: list[Unreadable] = []
    found = _answered(model_of(origin), photos, batch_size, unreadable, on_node=True)
    return list(found), unreadable


def _answered(
    model: Model,
    asked: Iterable[Asked | Unreadable],
    batch_size: int,
    unreadable: list[Unreadable],
    on_node: bool = False,
) -> Iterator[Answered]:
    bundle = model.bundle
    forms: set[Form] = {bundle.form} if bundle.description.sees_images else set()
    for batch in batches(asked, forms, batch_size, unreadable, on_node):
        probabilities = model.probabilities(batch.pixels.get(bundle.form), batch.captions)
        yield Answered([each.name for each in batch.asked], probabilities, batch.taken)

"""Photos, read and decoded ahead while a model is busy with the ones before."""

from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple

import numpy as np

from stages.ingest.workers import in_threads
from stages.progress import Progress
from tagloom.decoding import UnreadablePhoto, read, read_file
from tagloom.inputs import Asked, Unreadable


class Batch(NamedTuple):
    """Photos that could be read, and how many were asked for to find them.

    Attributes:
        asked: what was asked, n times.
        pixels: by size, uint8 (n, size, size, 3).
        taken: photos that were asked for, with those that could not be read.
    """

    asked: list[Asked]
    pixels: dict[int, np.ndarray]
    taken: int

    @property
    def captions(self) -> list[str | None]:
        return [each.caption for each in self.asked]


def batches(
    asked: Iterable[Asked | Unreadable],
    sizes: Collection[int],
    batch_size: int,
    unreadable: list[Unreadable],
) -> Iterator[Batch]:
    """Yields the photos ``batch_size`` at a time, in order; memory is that of a few batches.

    Args:
        sizes: height and width that photos are brought to, in pixels; none: they stay closed.
        unreadable: what cannot be read is added here.
    """
    opened = in_threads(lambda each: _open(each, sizes), asked)
    with ThreadPoolExecutor(1) as ahead:
        following = ahead.submit(_batch, opened, sizes, batch_size, unreadable)
        while batch := following.result():
            following = ahead.submit(_batch, opened, sizes, batch_size, unreadable)
            yield batch


def counted(batches: Iterable[Batch], what: str, total: int, quiet: bool) -> Iterator[Batch]:
    """Yields the batches and shows, unless ``quiet``, how many of ``total`` photos are done."""
    if quiet:
        yield from batches
        return
    with Progress(what, total, "photos") as progress:
        for batch in batches:
            yield batch
            progress.advance(batch.taken)


Opened = tuple[Asked, dict[int, np.ndarray]] | Unreadable


def _open(asked: Asked | Unreadable, sizes: Collection[int]) -> Opened:
    if isinstance(asked, Unreadable):
        return asked
    try:
        content = read_file(asked.path) if sizes else b""
        return asked, {size: read(content, size).pixels for size in sizes}
    except UnreadablePhoto as error:
        return Unreadable(asked.name, str(error))


def _batch(
    opened: Iterator[Opened], sizes: Collection[int], batch_size: int, unreadable: list[Unreadable]
) -> Batch | None:
    taken = list(islice(opened, batch_size))
    unreadable += [each for each in taken if isinstance(each, Unreadable)]
    good = [each for each in taken if not isinstance(each, Unreadable)]
    pixels = {
        size: np.array([made[size] for _, made in good], np.uint8).reshape(-1, size, size, 3)
        for size in sizes
    }
    return Batch([each for each, _ in good], pixels, len(taken)) if taken else None

"""Photos, read and decoded ahead while a model is busy with the ones before."""

from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import NamedTuple

import numpy as np

from stages.ingest.workers import in_threads
from stages.progress import Progress
from tagloom.decoding import UnreadablePhoto, read, read_file
from tagloom.inputs import Asked, Unreadable


class Batch(NamedTuple):
    """Decoded photos.

    Attributes:
        asked: the n photos that could be read.
        pixels: by size, uint8 (n, size, size, 3).
        taken: how many photos were tried: n, and those that could not be read.
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
        sizes: height and width that photos are brought to, in pixels; none: no file is opened.
        unreadable: what cannot be read is added here.
    """
    decoded = in_threads(partial(_decode, sizes=sizes), asked)
    with ThreadPoolExecutor(1) as ahead:
        following = ahead.submit(_batch, decoded, sizes, batch_size, unreadable)
        while batch := following.result():
            following = ahead.submit(_batch, decoded, sizes, batch_size, unreadable)
            yield batch


def with_progress(batches: Iterable[Batch], what: str, total: int, quiet: bool) -> Iterator[Batch]:
    """Yields the batches and shows, unless ``quiet``, how many of ``total`` photos are done."""
    if quiet:
        yield from batches
        return
    with Progress(what, total, "photos") as progress:
        for batch in batches:
            yield batch
            progress.advance(batch.taken)


Decoded = tuple[Asked, dict[int, np.ndarray]] | Unreadable  # pixels by size


def _decode(asked: Asked | Unreadable, sizes: Collection[int]) -> Decoded:
    if isinstance(asked, Unreadable):
        return asked
    try:
        content = read_file(asked.path) if sizes else b""
        return asked, {size: read(content, size).pixels for size in sizes}
    except UnreadablePhoto as error:
        return Unreadable(asked.name, str(error))


def _batch(
    decoded: Iterator[Decoded],
    sizes: Collection[int],
    batch_size: int,
    unreadable: list[Unreadable],
) -> Batch | None:
    taken = list(islice(decoded, batch_size))
    unreadable += [each for each in taken if isinstance(each, Unreadable)]
    good = [each for each in taken if not isinstance(each, Unreadable)]
    pixels = {
        size: np.array([by_size[size] for _, by_size in good], np.uint8).reshape(-1, size, size, 3)
        for size in sizes
    }
    return Batch([each for each, _ in good], pixels, len(taken)) if taken else None

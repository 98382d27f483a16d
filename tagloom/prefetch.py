"""Photos, read and decoded ahead while a model is busy with the ones before."""

from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import NamedTuple, Protocol, TypeVar

import numpy as np

from stages.ingest.decoder_processes import Decoders
from stages.ingest.form import Form
from stages.ingest.images import UnreadablePhoto
from stages.ingest.workers import in_threads
from stages.progress import Progress
from tagloom.inputs import Asked, Unreadable
from tagloom.photo_files import read_file


class Batch(NamedTuple):
    """Decoded photos.

    Attributes:
        asked: the n photos that could be read.
        pixels: by form, uint8 (n, size, size, 3).
        taken: how many photos were tried: n, and those that could not be read.
    """

    asked: list[Asked]
    pixels: dict[Form, np.ndarray]
    taken: int

    @property
    def captions(self) -> list[str | None]:
        return [each.caption for each in self.asked]


def batches(
    asked: Iterable[Asked | Unreadable],
    forms: Collection[Form],
    batch_size: int,
    unreadable: list[Unreadable],
    on_node: bool = False,
) -> Iterator[Batch]:
    """Yields the photos ``batch_size`` at a time, in order; memory is that of a few batches.

    Args:
        forms: what photos are brought to; none: no file is opened.
        unreadable: what cannot be read is added here.
        on_node: beside others, one for each core of a node of a cluster.
    """
    with Decoders(on_node=on_node) as decoders, ThreadPoolExecutor(1) as ahead:
        decode = partial(_decode, forms=forms, decoders=decoders)
        decoded = in_threads(decode, asked, 1 if on_node else None)
        following = ahead.submit(_batch, decoded, forms, batch_size, unreadable)
        while batch := following.result():
            following = ahead.submit(_batch, decoded, forms, batch_size, unreadable)
            yield batch


class Taken(Protocol):
    @property
    def taken(self) -> int: ...


Some = TypeVar("Some", bound=Taken)


def with_progress(batches: Iterable[Some], what: str, total: int, quiet: bool) -> Iterator[Some]:
    """Yields the batches and shows, unless ``quiet``, how many of ``total`` photos are done."""
    if quiet:
        yield from batches
        return
    with Progress(what, total, "photos") as progress:
        for batch in batches:
            yield batch
            progress.advance(batch.taken)


Decoded = tuple[Asked, dict[Form, np.ndarray]] | Unreadable  # pixels by form


def _decode(asked: Asked | Unreadable, forms: Collection[Form], decoders: Decoders) -> Decoded:
    if isinstance(asked, Unreadable):
        return asked
    try:
        content = read_file(asked.path) if forms else b""
        return asked, {form: decoders.decode(content, form).pixels for form in forms}
    except UnreadablePhoto as error:
        return Unreadable(asked.name, str(error))


def _batch(
    decoded: Iterator[Decoded],
    forms: Collection[Form],
    batch_size: int,
    unreadable: list[Unreadable],
) -> Batch | None:
    taken = list(islice(decoded, batch_size))
    unreadable += [each for each in taken if isinstance(each, Unreadable)]
    good = [each for each in taken if not isinstance(each, Unreadable)]
    pixels = {
        form: np.array([by_form[form] for _, by_form in good], np.uint8).reshape(
            -1, form.size, form.size, 3
        )
        for form in forms
    }
    return Batch([each for each, _ in good], pixels, len(taken)) if taken else None

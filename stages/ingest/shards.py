"""Photos opened and written to the image store: here, or shard by shard on a cluster's nodes.

What a shard holds hangs on nothing but the photos that are listed for its rows, so a core of a
cluster opens these and writes the shard's files. Pixels stay there; the stage gets what was seen.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, count, islice

from stages import cluster
from stages.ingest.decode_cache import DecodeCache
from stages.ingest.images import SHARD_ROWS, ImageWriter, Known, UnreadablePhoto
from stages.ingest.photos import Files, Opened, PhotoSource, open_all, unchanged

Piece = tuple[int, list[PhotoSource | Opened]]  # a shard's number, and its photos


def write_all(
    parts: Iterable[Sequence[PhotoSource]], writer: ImageWriter, files: Files, cache: DecodeCache
) -> Iterator[Opened | UnreadablePhoto]:
    """Opens photos and writes them to the store; yields what was seen of each, in order.

    Args:
        parts: of all photos, as many as are opened at once.
        writer: of the store, empty so far.

    Raises:
        UserError: as ``open_all`` and ``cluster.spread`` do.
    """
    if cluster.is_asked_for():
        yield from _write_there(chain.from_iterable(parts), writer, files, cache)
        return
    for photos in parts:
        for photo in open_all(photos, files, writer.form, cache):
            writer.append(photo.image if isinstance(photo, Opened) else None)
            yield photo


def _write_there(
    photos: Iterator[PhotoSource], writer: ImageWriter, files: Files, cache: DecodeCache
) -> Iterator[Opened | UnreadablePhoto]:
    """``write_all`` on the cores of a cluster."""
    common = writer, files, cache
    known = deque[list[Opened | None]]()  # of each shard under way

    def pieces() -> Iterator[Piece | cluster.Done]:
        for number in count():
            if not (shard := list(islice(photos, SHARD_ROWS))):
                return
            known.append(unchanged(shard, files, cache))
            piece = number, [one or it for one, it in zip(known[-1], shard, strict=True)]
            is_repeated = all(
                one is not None and isinstance(one.image, Known) and row in one.image.rows
                for row, one in enumerate(known[-1], number * SHARD_ROWS)
            )
            yield cluster.Done(_write_shard(common, piece)) if is_repeated else piece

    for seen in cluster.spread(_write_shard, common, pieces()):
        opened = iter(seen)
        for one in known.popleft():
            yield one or next(opened)


def _write_shard(
    common: tuple[ImageWriter, Files, DecodeCache], piece: Piece
) -> list[Opened | UnreadablePhoto]:
    """What a core of a cluster does, beside others of its node.

    Returns:
        What was seen of the photos that were not known, without their pixels.
    """
    writer, files, cache = common
    number, photos = piece
    unknown = [photo for photo in photos if not isinstance(photo, Opened)]
    opened = open_all(unknown, files, writer.form, cache, on_node=True)
    seen = []
    with writer.shard(number) as shard:
        for photo in photos:
            one = photo if isinstance(photo, Opened) else next(opened)
            image = one.image if isinstance(one, Opened) else None
            shard.append(image)
            if isinstance(one, Opened) and not isinstance(image, Known):
                one = one._replace(image=None)
            if not isinstance(photo, Opened):
                seen.append(one)
    return seen

"""What the last ingest decoded, so that the next one decodes only what is new.

DVC empties ``data/images`` before the stage runs. The shards are therefore kept a second time in
the cache folder, as hard links where the file system has them, with an index by the SHA-256 of
the photo's file. A photo is known if its bytes are; its name does not matter.

The index also notes the state each file was in. A file of the same name in the same state is taken
to hold the same bytes and is not read, as Git does it. What that trusts is the file system's
``ctime``, which every change of a file moves and no program can set: a file swapped for another of
its size with its old date (``cp -p``, ``rsync -a``) is noticed. A file that changed less than two
seconds before it was read gets no note, since one more change may leave its time stamps as they
are. Not noticed is a change made while the machine's clock is set back, to the very nanosecond.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import PIL
import polars as pl

from stages.files import cache_folder, digest, whole
from stages.ingest import images
from stages.ingest.images import ImageStore, link_or_copy

INDEX = "index.parquet"

FileState = tuple[int, int, int, int]  # size in bytes, mtime and ctime in nanoseconds, inode
STATE = {"size": pl.Int64, "mtime": pl.Int64, "ctime": pl.Int64, "inode": pl.UInt64}
Note = tuple[str | None, int | None, int | None, int | None, int | None]  # path, state of a file
NO_NOTE: Note = (None,) * 5


class Seen(NamedTuple):
    """What decoding this photo again would say; ``rows`` are its rows in the earlier store."""

    rows: tuple[int, ...]
    width: int
    height: int
    dhash: int | None


@dataclass(frozen=True)
class Earlier:
    """What is known of photos by their bytes, and of files by their path below the root."""

    store: ImageStore | None
    by_sha256: dict[str, Seen]
    by_file: dict[str, tuple[FileState, str]]  # with the SHA-256


NOTHING = Earlier(None, {}, {})


def load(size: int) -> Earlier:
    """The photos decoded last at ``size`` pixels by this very decoder; ``NOTHING`` without any.

    What was kept may have been deleted in part, or damaged; then it counts as nothing.
    """
    folder = place(size)
    try:
        index = pl.read_parquet(folder / INDEX)
        store = ImageStore(folder)
        if len(store) != len(index) or store.size != size:
            return NOTHING
        return Earlier(store, _by_sha256(index), _by_file(index))
    except (OSError, ValueError, EOFError, pl.exceptions.PolarsError):
        return NOTHING


def _by_sha256(index: pl.DataFrame) -> dict[str, Seen]:
    rows, *seen = (index[name].to_list() for name in ("image", "width", "height", "dhash"))
    photos = dict(zip(index["sha256"].to_list(), map(Seen, zip(rows), *seen), strict=True))
    alike = index.filter(pl.col("sha256").is_duplicated()).group_by("sha256").agg("image")
    for sha256, image in alike.iter_rows():
        photos[sha256] = photos[sha256]._replace(rows=tuple(image))
    return photos


def _by_file(index: pl.DataFrame) -> dict[str, tuple[FileState, str]]:
    noted = index.drop_nulls("photo")
    photos, sha256s, *state = (noted[name].to_list() for name in ("photo", "sha256", *STATE))
    notes = zip(zip(*state, strict=True), sha256s, strict=True)
    return dict(zip(photos, notes, strict=True))


def keep(store: Path, records: pl.DataFrame, notes: list[Note], size: int) -> None:
    """Keeps the shards in ``store`` for the next time, in place of those kept before.

    ``notes`` has one for each of ``records``, of the file it was read from.
    """
    noted = pl.DataFrame(zip(*notes, strict=True), {"photo": pl.String} | STATE, orient="col")
    index = records.select("sha256", "width", "height", "dhash", "image").hstack(noted)
    with whole(place(size)) as temporary:
        temporary.mkdir()
        for shard in store.glob("*.npy"):
            link_or_copy(shard, temporary / shard.name)
        index.write_parquet(temporary / INDEX, compression="lz4", statistics=False)


def place(size: int) -> Path:
    """Where photos of that size are kept, as this decoder makes them."""
    decoder = digest(Path(images.__file__), PIL.__version__)
    return cache_folder("images") / f"{size}-{decoder[:12]}"

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
FILES = {"photo": pl.String} | STATE


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
        photos = index.group_by("sha256").agg("image", pl.col("width", "height", "dhash").first())
        noted = index.select(*FILES, "sha256").drop_nulls("size")
    except (OSError, ValueError, EOFError, pl.exceptions.PolarsError):
        return NOTHING
    if len(store) != len(index) or store.size != size:
        return NOTHING
    return Earlier(
        store,
        {sha256: Seen(tuple(rows), *seen) for sha256, rows, *seen in photos.iter_rows()},
        {photo: (tuple(state), sha256) for photo, *state, sha256 in noted.iter_rows()},
    )


def keep(store: Path, records: pl.DataFrame, files: pl.DataFrame, size: int) -> None:
    """Keeps the shards in ``store`` for the next time, in place of those kept before.

    ``files`` has a row for each of ``records``, and the columns ``FILES``, null where a file is
    none or is not to be relied on.
    """
    index = records.select("sha256", "width", "height", "dhash", "image").hstack(files)
    with whole(place(size)) as temporary:
        temporary.mkdir()
        for shard in store.glob("*.npy"):
            link_or_copy(shard, temporary / shard.name)
        index.write_parquet(temporary / INDEX)


def place(size: int) -> Path:
    """Where photos of that size are kept, as this decoder makes them."""
    decoder = digest(Path(images.__file__), PIL.__version__)
    return cache_folder("images") / f"{size}-{decoder[:12]}"

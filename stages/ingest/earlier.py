"""What the last ingest decoded, so that the next one decodes only what is new.

DVC empties ``data/images`` before the stage runs. The shards are therefore kept a second time in
the cache folder, as hard links where the file system has them, with an index by the SHA-256 of
the photo's file. A photo is known if its bytes are; its name does not matter.
"""

from dataclasses import dataclass
from pathlib import Path

import PIL
import polars as pl

from stages.files import cache_folder, digest, whole
from stages.ingest import images
from stages.ingest.images import ImageStore, link_or_copy

INDEX = "index.parquet"


@dataclass(frozen=True)
class Seen:
    """What decoding this photo again would say; ``rows`` are its rows in the earlier store."""

    rows: tuple[int, ...]
    width: int
    height: int
    dhash: int | None


@dataclass(frozen=True)
class Earlier:
    store: ImageStore | None
    by_sha256: dict[str, Seen]


NOTHING = Earlier(None, {})


def load(size: int) -> Earlier:
    """The photos decoded last at ``size`` pixels by this very decoder; ``NOTHING`` without any.

    What was kept may have been deleted in part, or damaged; then it counts as nothing.
    """
    folder = _folder(size)
    try:
        index = pl.read_parquet(folder / INDEX)
        store = ImageStore(folder)
        photos = index.group_by("sha256").agg("image", pl.col("width", "height", "dhash").first())
    except (OSError, ValueError, EOFError, pl.exceptions.PolarsError):
        return NOTHING
    if len(store) != len(index) or store.size != size:
        return NOTHING
    return Earlier(
        store,
        {sha256: Seen(tuple(rows), *seen) for sha256, rows, *seen in photos.iter_rows()},
    )


def keep(store: Path, records: pl.DataFrame, size: int) -> None:
    """Keeps the shards in ``store`` for the next time, in place of those kept before."""
    with whole(_folder(size)) as temporary:
        temporary.mkdir()
        for shard in store.glob("*.npy"):
            link_or_copy(shard, temporary / shard.name)
        records.write_parquet(temporary / INDEX)


def _folder(size: int) -> Path:
    decoder = digest(Path(images.__file__), PIL.__version__)
    return cache_folder("images") / f"{size}-{decoder[:12]}"

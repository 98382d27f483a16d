"""What the last ingest decoded, so that the next one decodes only what is new.

DVC empties ``data/images`` before the stage runs. The shards are therefore kept a second time in
the cache folder, as hard links where the file system has them, with an index by the SHA-256 of
the photo's file. A photo is known if its bytes are; its name does not matter. Of a long run, shards
are kept from time to time, so that one that is killed goes on where it was.

The index also notes the state each file was in. A file of the same name in the same state is taken
to hold the same bytes and is not read, as Git does it. What that trusts is the file system's
``ctime``, which every change of a file moves and no program can set: a file swapped for another of
its size with its old date (``cp -p``, ``rsync -a``) is noticed. A file that changed less than two
seconds before it was read gets no note, since one more change may leave its time stamps as they
are. Not noticed is a change made while the machine's clock is set back, to the very nanosecond.
"""

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL
import polars as pl

from stages.files import cache_folder, digest, whole
from stages.image_formats import heif_version
from stages.ingest import colour_profiles, decoder, deep_pixels, images, shrinking
from stages.ingest.form import Codec, Form
from stages.ingest.images import SHARD_ROWS, ImageStore, link_or_copy
from stages.ingest.records import ROW_GROUP

INDEX = "index.parquet"

FileState = tuple[int, int, int, int]  # size in bytes, mtime and ctime in nanoseconds, inode
STATE: dict[str, pl.DataType] = {
    "size": pl.Int64(),
    "mtime": pl.Int64(),
    "ctime": pl.Int64(),
    "inode": pl.UInt64(),
}
NO_STATE = (None,) * len(STATE)
INDEX_SCHEMA = pl.Schema(
    {
        "sha256": pl.String(),
        "width": pl.Int32(),
        "height": pl.Int32(),
        "dhash": pl.UInt64(),
        "image": pl.Int32(),  # its row in the store
        "photo": pl.String(),  # its path below the root
        **STATE,  # null where it cannot be relied on
        "misfit": pl.UInt8(),
    }
)


class Seen(NamedTuple):
    """What decoding this photo again would give; ``rows`` are its rows in the cache's store."""

    sha256: str
    width: int
    height: int
    dhash: int | None
    misfit: int  # a Misfit
    rows: tuple[int, ...]


class DecodeCache:
    """What is known of photos by their bytes, and of files by their path below the root.

    Args:
        store: the photos' pixels.
        index: a row a photo, columns of ``INDEX_SCHEMA``.
    """

    def __init__(self, store: ImageStore | None, index: pl.DataFrame) -> None:
        self.store = store
        ordered = index.sort("sha256", "image").with_row_index("place")
        # Processes that decode have these too. Arrays, unlike objects and data frames, can be
        # looked into there without a copy being made, and without a thread.
        self._sha256 = np.frombuffer(ordered["sha256"].str.join().item().encode(), "S64")
        self._width, self._height, self._dhash, self._misfit, self._image = (
            ordered[name].fill_null(0).to_numpy()
            for name in ("width", "height", "dhash", "misfit", "image")
        )
        self._is_plain = ordered["dhash"].is_null().to_numpy()
        noted = ordered.select("photo", "place", *STATE).drop_nulls()
        self._noted = noted.unique("photo").sort("photo")

    def __len__(self) -> int:
        return len(self._sha256)

    def __getstate__(self) -> dict[str, Any]:
        # The nodes of a cluster ask for bytes alone; of arrays, Ray has one copy a node.
        return self.__dict__ | {"_noted": self._noted.clear()}

    def by_sha256(self, sha256: str) -> Seen | None:
        """What is known of the photo whose file has this hash."""
        place = int(self._sha256.searchsorted(sha256.encode()))
        is_known = place < len(self._sha256) and self._sha256[place] == sha256.encode()
        return self.seen(place) if is_known else None

    def seen(self, place: int) -> Seen:
        """What is known of the photo at ``place`` in the order of the hashes."""
        sha256 = self._sha256[place]
        last = self._sha256.searchsorted(sha256, "right")
        return Seen(
            sha256.decode(),
            int(self._width[place]),
            int(self._height[place]),
            None if self._is_plain[place] else int(self._dhash[place]),
            int(self._misfit[place]),
            tuple(self._image[place:last].tolist()),
        )

    def by_file(self, photos: pl.Series) -> pl.DataFrame:
        """What is noted of the files at these paths: a row each, nulls where nothing is.

        Its columns are ``place``, of the photo in the order of the hashes, and those of ``STATE``.
        """
        columns = ("place", *STATE)
        if self._noted.is_empty():
            return self._noted.select(columns).clear(len(photos))
        nearest = self._noted["photo"].search_sorted(photos.fill_null(""))
        notes = self._noted[nearest.clip(upper_bound=len(self._noted) - 1)]
        return notes.select(pl.when(notes["photo"] == photos).then(pl.col(columns)))


EMPTY = DecodeCache(None, pl.DataFrame(schema=INDEX_SCHEMA))


def load(form: Form, codec: Codec) -> DecodeCache:
    """The photos brought to ``form`` last by this very decoder, as ``codec`` keeps them; empty
    without any.

    Those of a run that did not end count where they are more. What was kept may have been deleted
    in part, or damaged; then it counts as empty.
    """
    kept, begun = _folders(form, codec)
    if len(_read(begun, form)) > len(_read(kept, form)):
        _replace(kept, begun)
    shutil.rmtree(begun, ignore_errors=True)
    return _read(kept, form)


def _read(folder: Path, form: Form) -> DecodeCache:
    try:
        index = pl.read_parquet(folder / INDEX)
        store = ImageStore(folder)
        list(store.shards)  # opened, all of them
        if not index["image"].is_between(0, len(store), "left").all() or store.size != form.size:
            return EMPTY
        return DecodeCache(store, index.match_to_schema(INDEX_SCHEMA))
    except (OSError, ValueError, EOFError, pl.exceptions.PolarsError):
        return EMPTY


def keep(
    store: Path, taken: pl.LazyFrame, form: Form, codec: Codec, shards: int | None = None
) -> None:
    """Keeps the shards in ``store`` for the next time, in place of those kept before.

    Args:
        taken: a row a photo, and the columns of ``INDEX_SCHEMA``.
        shards: how many of them there are so far, if there will be more; then what was kept before
            stays, too. Those that were kept on the way are not looked at again.
    """
    kept, begun = _folders(form, codec)
    begun.mkdir(parents=True, exist_ok=True)
    for file in store.iterdir():
        is_whole = shards is None or file.suffix == ".json" or int(file.stem) < shards
        if is_whole and not (begun / file.name).exists():
            link_or_copy(file, begun / file.name)
    if shards is not None:
        taken = taken.filter(pl.col("image") < shards * SHARD_ROWS)
    with whole(begun / INDEX) as temporary:
        taken.select(INDEX_SCHEMA.names()).sink_parquet(
            temporary, compression="lz4", statistics=False, row_group_size=ROW_GROUP
        )
    if shards is None:
        _replace(kept, begun)


def _folders(form: Form, codec: Codec) -> tuple[Path, Path]:
    """Of what was kept in the end, and of what a run keeps on its way there."""
    kept = place(form, codec)
    return kept, kept.with_name(f"{kept.name}.begun")


def _replace(kept: Path, begun: Path) -> None:
    shutil.rmtree(kept, ignore_errors=True)
    begun.rename(kept)


def place(form: Form, codec: Codec) -> Path:
    """The folder where ``codec`` keeps photos of ``form`` as this decoder makes them."""
    modules = (decoder, deep_pixels, shrinking, colour_profiles, images)
    code = [Path(str(module.__file__)) for module in modules]
    key = digest(*code, f"{PIL.__version__} {heif_version()} {form.depth} {form.fit} {codec}")
    return cache_folder("images") / f"{form.size}-{key[:12]}"

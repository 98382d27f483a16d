"""``data/images/``: every photo decoded once.

The store is a folder of shards ``00000.npy``, ``00001.npy``, …, each uint8 RGB of shape
(rows, size, size, 3), all but the last with ``SHARD_ROWS`` rows. Rows are read through memory
maps, so a batch costs a copy and no decoding. Photos appended to a source leave the full shards
as they are. A shard is as small as it is because the last one, partly filled, is copied to grow.

``depth.json`` beside them says how pixels deeper than 8 bits were scaled; without it, by the range
of their type. ``fit.json`` says how photos became square; without it, they were stretched.
"""

import json
import os
import shutil
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from stages.files import write_json
from stages.ingest.form import Form, as_depth

IMAGES = Path("data/images")
SHARD_ROWS = 512
DEPTH, FIT = "depth.json", "fit.json"


class UnreadablePhoto(Exception):
    """Why a photo cannot be taken in, in words for ``data/rejected.csv``."""


class ImageStore:
    """Reads the shards in ``folder``.

    Attributes:
        size: height and width of the photos, in pixels.
    """

    def __init__(self, folder: Path = IMAGES) -> None:
        self.folder = folder
        self._shards = [np.load(file, mmap_mode="r") for file in sorted(folder.glob("*.npy"))]
        if not self._shards:
            raise FileNotFoundError(f"{folder} holds no image shards; run the ingest stage")

    def __len__(self) -> int:
        return SHARD_ROWS * (len(self._shards) - 1) + len(self._shards[-1])

    @cached_property
    def size(self) -> int:
        return self._shards[0].shape[1]

    @cached_property
    def form(self) -> Form:
        """The form that the photos were brought to."""
        depth, fit = self._note(DEPTH, "type"), self._note(FIT, "stretch")
        return Form(self.size, as_depth(depth), fit)

    def _note(self, name: str, default: str) -> Any:
        file = self.folder / name
        return json.loads(file.read_text("utf-8")) if file.exists() else default

    def gather(self, rows: np.ndarray) -> np.ndarray:
        """The photos at ``rows`` (int, (n,)): a new uint8 array (n, size, size, 3)."""
        batch = np.empty((len(rows), self.size, self.size, 3), np.uint8)
        for place, row in enumerate(rows):
            batch[place] = self.photo(row)
        return batch

    def photo(self, row: int) -> np.ndarray:
        """The photo at ``row``, uint8 (size, size, 3), read-only."""
        return self._shards[row // SHARD_ROWS][row % SHARD_ROWS]

    def shard(self, number: int) -> np.ndarray:
        """Shard ``number`` as a read-only memory map."""
        return self._shards[number]

    def shard_file(self, number: int) -> Path:
        """The file of shard ``number``."""
        return Path(self._shards[number].filename)


class Known(NamedTuple):
    """A photo that the decode cache already holds, at each of ``rows`` of its store."""

    rows: tuple[int, ...]


class ImageWriter:
    """Writes a store's shards into ``folder``, photo after photo; a context manager.

    Args:
        folder: an empty folder.
        form: of every photo.
        cache: the decode cache's store, of that form, to take ``Known`` photos from. A shard
            that repeats its shard of the same number row for row is linked instead of written.
    """

    def __init__(self, folder: Path, form: Form, cache: ImageStore | None = None) -> None:
        self.folder, self.size, self.cache = folder, form.size, cache
        if form.depth != "type":
            write_json(folder / DEPTH, form.depth)
        if form.fit != "stretch":
            write_json(folder / FIT, form.fit)
        self.rows = 0
        self._stream: BinaryIO | None = None  # None while the shard repeats the cache's

    def __enter__(self) -> "ImageWriter":
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is None and self.rows % SHARD_ROWS:
            self._finish_shard(self.rows % SHARD_ROWS)
        if self._stream is not None:
            self._stream.close()

    def append(self, photo: np.ndarray | Known) -> int:
        """Adds a photo, uint8 (size, size, 3), or one of the cache; returns its row."""
        place = self.rows % SHARD_ROWS
        if self._stream is None and not (isinstance(photo, Known) and self.rows in photo.rows):
            self._stream = self._start_shard(place)
        if self._stream is not None:
            self._stream.write(self._pixels(photo).data)
        self.rows += 1
        if place + 1 == SHARD_ROWS:
            self._finish_shard(SHARD_ROWS)
        return self.rows - 1

    @property
    def _known(self) -> ImageStore:
        assert self.cache is not None, "a Known photo needs a cache"
        return self.cache

    def _pixels(self, photo: np.ndarray | Known) -> np.ndarray:
        pixels = self._known.photo(photo.rows[0]) if isinstance(photo, Known) else photo
        if pixels.shape != (self.size, self.size, 3) or pixels.dtype != np.uint8:
            raise ValueError(f"a photo is {pixels.dtype} {pixels.shape} in a store of {self.size}")
        return np.ascontiguousarray(pixels)

    def _start_shard(self, repeated: int) -> BinaryIO:
        """Opens a shard that begins with the first ``repeated`` rows of the cache's."""
        number = self.rows // SHARD_ROWS
        stream = self._file(number).open("wb")
        self._write_header(stream, SHARD_ROWS)
        if repeated:
            stream.write(self._known.shard(number)[:repeated].data)
        return stream

    def _finish_shard(self, rows: int) -> None:
        number = (self.rows - 1) // SHARD_ROWS
        if self._stream is not None:
            self._stream.seek(0)
            self._write_header(self._stream, rows)
            self._stream.close()
            self._stream = None
        elif rows == len(self._known.shard(number)):
            link_or_copy(self._known.shard_file(number), self._file(number))
        else:
            np.save(self._file(number), self._known.shard(number)[:rows])

    def _write_header(self, stream: BinaryIO, rows: int) -> None:
        # As long for any number of rows: NumPy leaves room for the first axis to grow.
        shape = (rows, self.size, self.size, 3)
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, header)

    def _file(self, number: int) -> Path:
        return self.folder / f"{number:05}.npy"


def link_or_copy(source: Path, target: Path) -> None:
    """Hard-links ``source`` to ``target`` where the file system can, else copies it."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)

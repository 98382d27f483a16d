"""``data/images/``: every photo decoded once, and brought to one form.

The store is a folder of shards ``00000.npy``, ``00001.npy``, …, all but the last with as many rows
as the first. Rows are read through memory maps. Photos appended to a source leave the full shards
as they are. A shard is as small as it is because the last one, partly filled, is copied to grow.

Each photo that a source lists has its row, in the source's order; one that is set aside leaves it
empty. So what a shard holds hangs on nothing but the photos that are listed for its rows.

- Raw photos: a shard is uint8 RGB, (rows, size, size, 3). A batch costs a copy and no decoding.
  Empty rows are black.
- JPEG: about a tenth of that, and a batch costs decoding. A shard is the files of its photos one
  after the other, uint8 (bytes,); ``00000.ends``, int64 (rows,), says where each ends. Empty rows
  have no bytes. ``jpeg.json`` says how large the photos are.

``depth.json`` beside them says how pixels deeper than 8 bits were scaled; without it, by the range
of their type. ``fit.json`` says how photos became square; without it, they were stretched.
"""

import io
import json
import os
import resource
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property, lru_cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from PIL import Image

from stages.cores import cores
from stages.files import write_json
from stages.ingest.form import Codec, Form, as_depth

IMAGES = Path("data/images")
SHARD_ROWS = 512  # of those that are written
MAPS = 32_768  # shards open at a time, at most: half of the maps that Linux lets a process have
OTHER_FILES = 512  # that a process may have open beside them
DEPTH, FIT, JPEG = "depth.json", "fit.json", "jpeg.json"
QUALITY = 90  # of JPEG; docs/data.md says what that costs


class UnreadablePhoto(Exception):
    """Why a photo cannot be taken in, in words for ``data/rejected.csv``."""


class Shard(ABC):
    """Some rows of a store.

    Attributes:
        files: that it consists of.
        size: height and width of its photos, in pixels.
    """

    files: tuple[Path, ...]
    size: int

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def encoded(self, row: int) -> memoryview:
        """The bytes of a row as they stand in the shard."""

    @abstractmethod
    def photo(self, row: int) -> np.ndarray:
        """Uint8 (size, size, 3), read-only."""

    @abstractmethod
    def is_empty(self, row: int) -> bool:
        """Whether its photo was set aside."""


class RawShard(Shard):
    """A ``Shard`` of pixels, uint8 (rows, size, size, 3)."""

    def __init__(self, pixels: np.ndarray, *files: Path) -> None:
        self.files, self.size, self._pixels = files, pixels.shape[1], pixels

    def __len__(self) -> int:
        return len(self._pixels)

    def encoded(self, row: int) -> memoryview:
        return self._pixels[row].data

    def photo(self, row: int) -> np.ndarray:
        return self._pixels[row]

    def is_empty(self, row: int) -> bool:
        return not self._pixels[row].any()


class JpegShard(Shard):
    """A ``Shard`` of files, each of a photo ``size`` pixels high and wide."""

    def __init__(self, file: Path, size: int) -> None:
        self.files = (file, file.with_suffix(".ends"))
        self.size = size
        self._bytes: np.ndarray = np.load(file, mmap_mode="r")
        self._ends = np.concatenate([[0], np.load(file.with_suffix(".ends"))])

    def __len__(self) -> int:
        return len(self._ends) - 1

    def encoded(self, row: int) -> memoryview:
        return self._bytes[self._ends[row] : self._ends[row + 1]].data

    def photo(self, row: int) -> np.ndarray:
        if self.is_empty(row):
            return np.zeros((self.size, self.size, 3), np.uint8)
        with Image.open(io.BytesIO(self.encoded(row)), formats=["JPEG"]) as image:
            return np.asarray(image)

    def is_empty(self, row: int) -> bool:
        return self._ends[row] == self._ends[row + 1]


class _Shards(Sequence[Shard]):
    """Those in ``files``, of JPEGs of ``size`` or else raw; each is opened when it is asked for."""

    def __init__(self, files: Sequence[Path], size: int | None) -> None:
        self._files = files
        self._opened = lru_cache(_allow_open(len(files)))(partial(_open, files, size))

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, number: int) -> Shard:  # type: ignore[override]  # no slices
        return self._opened(range(len(self))[number])


def _open(files: Sequence[Path], size: int | None, number: int) -> Shard:
    file = files[number]
    return JpegShard(file, size) if size else RawShard(np.load(file, mmap_mode="r"), file)


def _allow_open(files: int) -> int:
    """How many of so many files may be mapped at a time, beside what else a process has open.

    Each map keeps its file open, and most systems let a process have 1,024 until it asks for more.
    """
    wanted = min(files, MAPS) + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return max(1, most - OTHER_FILES)


class ImageStore:
    """Reads the shards in ``folder``.

    Attributes:
        size: height and width of the photos, in pixels.
        codec: how they are kept.
    """

    def __init__(self, folder: Path = IMAGES) -> None:
        self.folder = folder
        size = self._note(JPEG, None)
        self.codec: Codec = "raw" if size is None else "jpeg"
        self.shards: Sequence[Shard] = _Shards(sorted(folder.glob("*.npy")), size)
        if not self.shards:
            raise FileNotFoundError(f"{folder} holds no image shards; run the ingest stage")
        self.shard_rows = len(self.shards[0])

    def __reduce__(self) -> tuple[type["ImageStore"], tuple[Path]]:
        return ImageStore, (self.folder.absolute(),)  # and not what stands in it

    def __len__(self) -> int:
        return self.shard_rows * (len(self.shards) - 1) + len(self.shards[-1])

    @cached_property
    def size(self) -> int:
        return self.shards[0].size

    @cached_property
    def form(self) -> Form:
        """The form that the photos were brought to."""
        depth, fit = self._note(DEPTH, "type"), self._note(FIT, "stretch")
        return Form(self.size, as_depth(depth), fit)

    def _note(self, name: str, default: Any) -> Any:
        file = self.folder / name
        return json.loads(file.read_text("utf-8")) if file.exists() else default

    def gather(self, rows: np.ndarray) -> np.ndarray:
        """The photos at ``rows`` (int, (n,)): a new uint8 array (n, size, size, 3)."""
        batch = np.empty((len(rows), self.size, self.size, 3), np.uint8)

        def fill(place: int) -> None:
            batch[place] = self.photo(rows[place])

        for _ in (map if self.codec == "raw" else self._threads.map)(fill, range(len(rows))):
            pass
        return batch

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        """They decode JPEG; a copy of pixels is made sooner than a thread begins."""
        return ThreadPoolExecutor(cores(), "decode")

    def photo(self, row: int) -> np.ndarray:
        """The photo at ``row``, uint8 (size, size, 3), read-only."""
        return self.shards[row // self.shard_rows].photo(row % self.shard_rows)


class Known(NamedTuple):
    """A photo that the decode cache already holds, at each of ``rows`` of its store."""

    rows: tuple[int, ...]


class ImageWriter:
    """Writes a store's shards into ``folder``, row after row; a context manager.

    Args:
        folder: an empty folder.
        form: of every photo.
        codec: how photos are kept.
        cache: the decode cache's store, of that form and codec, to take ``Known`` photos from. A
            shard that repeats its shard of the same number row for row is linked instead of
            written.
        first: the row to begin with, the first of a shard.
    """

    def __init__(
        self,
        folder: Path,
        form: Form,
        codec: Codec = "raw",
        cache: ImageStore | None = None,
        first: int = 0,
    ) -> None:
        self.folder, self.form, self.codec, self.cache = folder, form, codec, cache
        self.size, self.rows = form.size, first
        self._stream: BinaryIO | None = None  # None while the shard repeats the cache's
        self._ends: list[int] = []  # of the rows in the stream, in bytes
        if not first:
            self._write_notes()

    def __enter__(self) -> "ImageWriter":
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is None and self.rows % SHARD_ROWS:
            self._finish_shard(self.rows % SHARD_ROWS)
        if self._stream is not None:
            self._stream.close()

    @contextmanager
    def shard(self, number: int) -> Iterator["ImageWriter"]:
        """A writer of shard ``number`` alone, in whatever process this one was brought to.

        The shard is in the folder once the block has ended, whole, or not at all.
        """
        with TemporaryDirectory(prefix=f"{number:05}.", dir=self.folder.parent) as name:
            first = number * SHARD_ROWS
            with ImageWriter(Path(name), self.form, self.codec, self.cache, first) as writer:
                yield writer
            for file in Path(name).iterdir():
                file.replace(self.folder / file.name)

    def append(self, photo: np.ndarray | Known | None) -> int:
        """Adds a row and returns its number.

        Args:
            photo: uint8 (size, size, 3), or one of the cache; None: the row stays empty.
        """
        place = self.rows % SHARD_ROWS
        if self._stream is None and not self._repeats(photo):
            self._start_shard(place)
        if self._stream is not None:
            self._write(self._encoded(photo))
        self.rows += 1
        if place + 1 == SHARD_ROWS:
            self._finish_shard(SHARD_ROWS)
        return self.rows - 1

    def _write_notes(self) -> None:
        if self.form.depth != "type":
            write_json(self.folder / DEPTH, self.form.depth)
        if self.form.fit != "stretch":
            write_json(self.folder / FIT, self.form.fit)
        if self.codec == "jpeg":
            write_json(self.folder / JPEG, self.size)

    def _repeats(self, photo: np.ndarray | Known | None) -> bool:
        """Whether the cache has the same at the next row."""
        if isinstance(photo, Known):
            return self.rows in photo.rows
        if photo is not None or self.cache is None or self.rows >= len(self.cache):
            return False
        number, row = divmod(self.rows, SHARD_ROWS)
        return self._cached(number).is_empty(row)

    def _cached(self, shard: int) -> Shard:
        assert self.cache is not None, "what is known stands in a cache"
        return self.cache.shards[shard]

    def _encoded(self, photo: np.ndarray | Known | None) -> bytes | memoryview:
        if photo is None:
            return bytes(self.size * self.size * 3) if self.codec == "raw" else b""
        if isinstance(photo, Known):
            shard, row = divmod(photo.rows[0], SHARD_ROWS)
            return self._cached(shard).encoded(row)
        if photo.shape != (self.size, self.size, 3) or photo.dtype != np.uint8:
            raise ValueError(f"a photo is {photo.dtype} {photo.shape} in a store of {self.size}")
        return np.ascontiguousarray(photo).data if self.codec == "raw" else encode(photo)

    def _write(self, content: bytes | memoryview) -> None:
        assert self._stream is not None
        before = self._ends[-1] if self._ends else 0
        self._ends.append(before + self._stream.write(content))

    def _start_shard(self, repeated: int) -> None:
        """Opens a shard that begins with the first ``repeated`` rows of the cache's."""
        self._stream, self._ends = self._file(self.rows // SHARD_ROWS).open("wb"), []
        self._write_header(self._stream)
        for row in range(repeated):
            self._write(self._cached(self.rows // SHARD_ROWS).encoded(row))

    def _finish_shard(self, rows: int) -> None:
        number = (self.rows - 1) // SHARD_ROWS
        if self._stream is None:
            known = self._cached(number)
            if rows == len(known):
                for file in known.files:
                    link_or_copy(file, self.folder / file.name)
                return
            self._start_shard(rows)
        assert self._stream is not None
        if self.codec == "jpeg":
            with self._file(number).with_suffix(".ends").open("wb") as stream:
                np.save(stream, np.array(self._ends, np.int64))
        self._stream.seek(0)
        self._write_header(self._stream)
        self._stream.close()
        self._stream = None

    def _write_header(self, stream: BinaryIO) -> None:
        # As long for any shape of so many axes: NumPy leaves room for the first one to grow.
        raw = (len(self._ends), self.size, self.size, 3)
        shape = raw if self.codec == "raw" else (self._ends[-1] if self._ends else 0,)
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, header)

    def _file(self, number: int) -> Path:
        return self.folder / f"{number:05}.npy"


def encode(photo: np.ndarray) -> bytes:
    """The JPEG file of a photo, uint8 (height, width, 3)."""
    file = io.BytesIO()
    Image.fromarray(photo).save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def link_or_copy(source: Path, target: Path) -> None:
    """Hard-links ``source`` to ``target`` where the file system can, else copies it."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)

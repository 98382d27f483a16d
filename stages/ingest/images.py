"""``data/images/``: every photo decoded once, and the decoder.

The store is a folder of shards ``00000.npy``, ``00001.npy``, …, each uint8 RGB of shape
(rows, size, size, 3), all but the last with ``SHARD_ROWS`` rows. Rows are read through memory
maps, so a batch costs a copy and no decoding. Photos appended to a source leave the full shards
as they are. A shard is as small as it is because the last one, partly filled, is copied to grow.
"""

import io
import os
import shutil
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import ExifTags, Image

IMAGES = Path("data/images")
SHARD_ROWS = 512
MOST_SCANS = 100  # of a progressive JPEG; encoders make ten or so
LEAST_CONTRAST = 8  # of 255, between the cells of a difference hash

# Pillow otherwise gives an image's memory back to the system, which has to clear it for the next;
# so many pieces of 16 MiB at most, enough for those of one photo.
Image.core.set_blocks_max(4)

# What brings a photo upright, by its EXIF orientation.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = [UPRIGHT[orientation] for orientation in (5, 6, 7, 8)]


class UnreadablePhoto(Exception):
    """Why a photo cannot be taken in, in words for ``data/rejected.csv``."""


class Photo(NamedTuple):
    """A decoded photo: ``pixels`` uint8 (size, size, 3); its own width and height; its dhash."""

    pixels: np.ndarray
    width: int
    height: int
    dhash: int | None


def decode(content: bytes, size: int) -> Photo:
    """Decodes any file that Pillow reads to ``size`` × ``size`` RGB.

    EXIF orientation is honoured, 16-bit greys are scaled, transparency is laid over white, and
    the resize is antialiased (bilinear over the support of the scale). The aspect is not kept.

    Raises:
        UnreadablePhoto: the file is empty, truncated, no image, or a decompression bomb.
    """
    if not content:
        raise UnreadablePhoto("the file is empty")
    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.width * image.height > (Image.MAX_IMAGE_PIXELS or float("inf")):
                raise UnreadablePhoto(_bomb(image))
            if image.format == "EPS":
                raise UnreadablePhoto("it is PostScript, a program, and is not run")
            # A scan goes over all pixels, and can say in a hundred bytes that none changes: a file
            # of a few megabytes would take hours.
            if image.info.get("progressive") and content.count(b"\xff\xda") > MOST_SCANS:
                raise UnreadablePhoto(f"decompression bomb: more than {MOST_SCANS} scans")
            width, height = image.size
            # Large JPEGs are decoded at a fraction of their size, never below twice ours.
            image.draft(None, (2 * size, 2 * size))
            image.load()
            turn = _turn(image)
            resized = _to_rgb(image).resize((size, size), Image.Resampling.BILINEAR)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadablePhoto(f"decompression bomb: {error}") from error
    except Image.UnidentifiedImageError as error:
        raise UnreadablePhoto("not an image that Pillow can read") from error
    except UnreadablePhoto:
        raise
    except Exception as error:  # Pillow's decoders raise whatever a broken file leads them to
        raise UnreadablePhoto(f"cannot be decoded: {error}") from error
    if turn is not None:
        resized = resized.transpose(turn)
    if turn in SIDEWAYS:
        width, height = height, width
    return Photo(np.asarray(resized), width, height, difference_hash(resized))


def difference_hash(image: Image.Image) -> int | None:
    """64 bits: is each of 8 × 8 grey cells darker than the one to its right? (Krawetz, 2013)

    None for a photo of one shade, whose bits would say nothing and equal those of any other.
    """
    # The gap lets Pillow take the means of whole pixels first, which is eight times as fast.
    small = image.convert("L").resize((9, 8), Image.Resampling.BOX, reducing_gap=1.0)
    cells = np.asarray(small, np.int16)
    if np.ptp(cells) < LEAST_CONTRAST:
        return None
    return int.from_bytes(np.packbits(cells[:, 1:] > cells[:, :-1]).tobytes(), "big")


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What brings a loaded photo upright, by its EXIF data; None where those cannot be read."""
    try:
        return UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # as with broken pixels; a photo is not lost for its notes
        return None


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        # Pillow clips these at 255; white is 65535 in a 16-bit grey, 1 in a floating-point one.
        white = 1 if image.mode == "F" else 65535
        with np.errstate(over="ignore", invalid="ignore"):  # what is too bright is white
            grey = np.nan_to_num(np.asarray(image, np.float32) * (255 / white))
        image = Image.fromarray(grey.clip(0, 255).round().astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(paper, image).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")  # which would copy it


def _bomb(image: Image.Image) -> str:
    return (
        f"decompression bomb: {image.width} × {image.height} pixels, more than "
        f"{Image.MAX_IMAGE_PIXELS:,}"
    )


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
        size: height and width of every photo, in pixels.
        cache: the decode cache's store, of that size, to take ``Known`` photos from. A shard
            that repeats its shard of the same number row for row is linked instead of written.
    """

    def __init__(self, folder: Path, size: int, cache: ImageStore | None = None) -> None:
        self.folder, self.size, self.cache = folder, size, cache
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

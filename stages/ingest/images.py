"""``data/images/``: every photo decoded once, and the decoder.

The store is a folder of shards ``00000.npy``, ``00001.npy``, …, each uint8 RGB of shape
(rows, size, size, 3), all but the last with ``SHARD_ROWS`` rows. Rows are read through memory
maps, so a batch costs a copy and no decoding. Photos appended to a source leave the full shards
as they are.
"""

import io
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

IMAGES = Path("data/images")
SHARD_ROWS = 4096


class UnreadablePhoto(Exception):
    """Why a photo cannot be taken in, in words for ``data/rejected.csv``."""


@dataclass(frozen=True)
class Photo:
    """A decoded photo: ``pixels`` uint8 (size, size, 3); its own width and height; its dhash."""

    pixels: np.ndarray
    width: int
    height: int
    dhash: int


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
            # Large JPEGs are decoded at a fraction of their size, never below twice ours.
            original = image.size
            image.draft(None, (2 * size, 2 * size))
            turned = ImageOps.exif_transpose(image)
            if turned.size != image.size:
                original = original[::-1]
            rgb = _to_rgb(turned)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadablePhoto(f"decompression bomb: {error}") from error
    except Image.UnidentifiedImageError as error:
        raise UnreadablePhoto("not an image that Pillow can read") from error
    except UnreadablePhoto:
        raise
    except Exception as error:  # Pillow's decoders raise whatever a broken file leads them to
        raise UnreadablePhoto(f"cannot be decoded: {error}") from error
    resized = rgb.resize((size, size), Image.Resampling.BILINEAR)
    return Photo(np.asarray(resized), *original, difference_hash(resized))


def difference_hash(image: Image.Image) -> int:
    """64 bits: is each of 8 × 8 grey cells darker than the one to its right? (Krawetz, 2013)"""
    cells = np.asarray(image.convert("L").resize((9, 8), Image.Resampling.BOX), np.int16)
    return int.from_bytes(np.packbits(cells[:, 1:] > cells[:, :-1]).tobytes(), "big")


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        # Pillow clips these at 255; a 16-bit grey's white is 65535.
        grey = np.asarray(image, np.float32) / 257
        image = Image.fromarray(grey.clip(0, 255).round().astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


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
            batch[place] = self._shards[row // SHARD_ROWS][row % SHARD_ROWS]
        return batch

    def shard(self, number: int) -> np.ndarray:
        """Shard ``number`` as a read-only memory map."""
        return self._shards[number]

    def shard_file(self, number: int) -> Path:
        return Path(self._shards[number].filename)


@dataclass(frozen=True)
class Known:
    """A photo that an earlier store already holds: row ``row`` of that store."""

    row: int


class ImageWriter:
    """Writes a store's shards into ``folder``, photo after photo.

    Args:
        folder: an empty folder.
        size: height and width of every photo, in pixels.
        earlier: a store to take ``Known`` photos from. A shard that would repeat one of its
            shards row for row is linked instead of written.
    """

    def __init__(self, folder: Path, size: int, earlier: ImageStore | None = None) -> None:
        self.folder, self.size, self.earlier = folder, size, earlier
        self.rows = 0
        self._shard: np.ndarray | None = None
        # While every row of the shard stands at the same place of one earlier shard, nothing is
        # written: (earlier shard's number, rows so far).
        self._repeated: tuple[int, int] | None = None

    def append(self, photo: np.ndarray | Known) -> int:
        """Adds a photo, uint8 (size, size, 3), or one of the earlier store; returns its row."""
        place = self.rows % SHARD_ROWS
        if not self._goes_on_repeating(photo, place):
            self._write(place, photo)
        self.rows += 1
        if self.rows % SHARD_ROWS == 0:
            self._finish_shard(SHARD_ROWS)
        return self.rows - 1

    def close(self) -> None:
        """Finishes the last shard."""
        if self.rows % SHARD_ROWS:
            self._finish_shard(self.rows % SHARD_ROWS)

    def _goes_on_repeating(self, photo: np.ndarray | Known, place: int) -> bool:
        if not isinstance(photo, Known) or photo.row % SHARD_ROWS != place:
            return False
        shard = photo.row // SHARD_ROWS
        if place == 0 or self._repeated == (shard, place):
            self._repeated = (shard, place + 1)
            return True
        return False

    def _write(self, place: int, photo: np.ndarray | Known) -> None:
        if self._shard is None:
            self._shard = np.lib.format.open_memmap(
                self._file(), "w+", np.uint8, (SHARD_ROWS, self.size, self.size, 3)
            )
            if self._repeated is not None:
                shard, rows = self._repeated
                self._shard[:rows] = self.earlier.shard(shard)[:rows]
                self._repeated = None
        if isinstance(photo, Known):
            photo = self.earlier.shard(photo.row // SHARD_ROWS)[photo.row % SHARD_ROWS]
        self._shard[place] = photo

    def _finish_shard(self, rows: int) -> None:
        file = self._file(last=True)
        if self._shard is not None:
            self._shard.flush()
            if rows < SHARD_ROWS:  # the last one is cut to its rows
                kept = self._shard[:rows]
                with file.with_suffix(".cut").open("wb") as stream:
                    np.save(stream, kept)
                file.with_suffix(".cut").replace(file)
        else:
            shard, repeated = self._repeated
            if repeated == len(self.earlier.shard(shard)):
                link_or_copy(self.earlier.shard_file(shard), file)
            else:
                np.save(file, self.earlier.shard(shard)[:rows])
        self._shard = self._repeated = None

    def _file(self, last: bool = False) -> Path:
        return self.folder / f"{(self.rows - last) // SHARD_ROWS:05}.npy"


def link_or_copy(source: Path, target: Path) -> None:
    """Hard-links ``source`` to ``target`` where the file system can, else copies it."""
    try:
        os.link(source, target)
    except OSError:
        target.write_bytes(source.read_bytes())

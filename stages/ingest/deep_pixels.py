"""Photos of more than 8 bits a value, as of X-rays and microscopes, and how they come to have 8.

Where they lie between black and white says ``ingest.depth``: the range of their type, the photo's
own, or given bounds. Devices of 12 bits write files of 16, in which the type's range leaves them
nearly black; such photos are counted, so that it is seen.
"""

import sys
from enum import IntEnum
from typing import Any

import numpy as np
from PIL import Image, ImageFile, TiffImagePlugin

from stages.image_formats import open_image
from stages.ingest.form import Depth
from stages.ingest.images import UnreadablePhoto
from stages.ingest.shrinking import strips

SMALL_PART = 0.25  # of a range: 64 of 256 shades are left, and 14 bits of 16 show no more
BITS, PHOTOMETRIC, SAMPLES, PLANES, EXTRA, FORMAT = 258, 262, 277, 284, 338, 339  # TIFF's tags
COLOURS = {2: 3, 5: 4, 6: 3, 8: 3}  # bands by PHOTOMETRIC: RGB, CMYK, YCbCr, Lab; else one
ALPHA = [(1,), (2,), (999,)]  # EXTRA of one band that is transparency; 999 is Corel's
SIGNED = 2  # FORMAT
# The order of bytes that takes the low one of 16 bits for the high one, of which Pillow keeps just
# that; N is the machine's own.
OTHER_BYTE = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}
REMEDY = "save it as grey or RGB of 8 or 16 bits"


class Misfit(IntEnum):
    """How a photo goes with the range that it was scaled from."""

    NONE = 0
    NARROW = 1  # it uses a small part
    BEYOND = 2  # it goes beyond, which the range of floating-point numbers, 0 to 1, allows


def check_bands(image: ImageFile.ImageFile, depth: Depth) -> None:
    """Refuses TIFFs that Pillow takes for others than they are.

    Raises:
        UnreadablePhoto: a band would be lost, or taken for transparency; or numbers are mistaken.
    """
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return
    tags = image.tag_v2
    bits, bands = tags.get(BITS, (1,))[0], tags.get(SAMPLES, 1)
    more = bands - COLOURS.get(tags.get(PHOTOMETRIC, 0), 1)
    if more > 1 or (more == 1 and tags.get(EXTRA, ()) not in ALPHA):
        raise UnreadablePhoto(
            f"it has {bands} bands, {more} beside those of its colour, which are not said to be "
            "transparency; save those to be learnt from as grey or RGB"
        )
    if bits <= 8 and tags.get(FORMAT, (1,))[0] == SIGNED:
        raise UnreadablePhoto(f"its pixels are numbers of 8 bits with a sign; {REMEDY}")
    is_parted = tags.get(PLANES, 1) != 1
    if is_parted and bits > 8 and (depth != "type" or image.tile[0].codec_name != "libtiff"):
        raise UnreadablePhoto(f"its bands of {bits} bits are stored one by one; {REMEDY}")


def is_deep(image: ImageFile.ImageFile) -> bool:
    """Whether an image that is not loaded yet has more than 8 bits a value.

    Not of formats that say how deep they are, by which they are scaled: HEIC, AVIF, and JPEG 2000
    in colour.
    """
    read_by = str(image.tile[:1])
    is_grey = image.mode.startswith(("I", "F"))
    return is_grey or ";16" in read_by or "SGI16" in read_by or _maximum(image) > 255


def _maximum(image: ImageFile.ImageFile) -> int:
    """The largest value of PPM and PGM, by which Pillow has scaled them; 0 where it has not."""
    is_scaled = image.format == "PPM" and image.tile[0].codec_name.startswith("ppm")
    return int(image.tile[0].args[1]) if is_scaled else 0  # type: ignore[index]


def _rawmode(tile: Any) -> str:
    """How the bytes that a tile of Pillow's names are to be taken."""
    return str(tile.args if isinstance(tile.args, str) else tile.args[0])


def _with_rawmode(tile: Any, rawmode: str) -> Any:
    """The arguments of ``tile``, with its bytes taken for others."""
    return rawmode if isinstance(tile.args, str) else (rawmode, *tile.args[1:])


class DeepImage:
    """A photo that ``is_deep``; made before it is loaded, the rest is asked after.

    Args:
        image: an opened file of ``content``.
    """

    def __init__(self, image: ImageFile.ImageFile, content: bytes, depth: Depth) -> None:
        self._image, self._content, self._depth = image, content, depth
        self._tiles, self._maximum = list(image.tile), _maximum(image)
        self._low: Image.Image | None = None  # of colours that are scaled here: their low bytes
        self._range = 0.0, 255.0  # what becomes black and what white

    def measure(self) -> Misfit:
        """Looks over the pixels for how ``scaled`` is to scale them, and how they go with that.

        Raises:
            UnreadablePhoto: it has values that are no numbers, or cannot be scaled in this way.
        """
        is_grey = self._image.mode.startswith(("I", "F"))
        if not is_grey and self._depth == "type":  # Pillow has scaled it
            extremes = np.array(self._image.getextrema())
            if self._image.mode == "RGBA":
                extremes = extremes[:3]
            return self._misfit(extremes.min(), extremes.max())
        lowest, highest = self._type_range() if is_grey else (0, 65535)
        if not is_grey:
            self._low = self._low_bytes()
        least, most = self._extremes()
        if self._depth == "type":
            self._range = lowest, highest
        elif self._depth == "photo":
            self._range = least, most
        else:
            self._range = self._depth
        return self._misfit(least, most)

    def scaled(self, strip: Image.Image, top: int) -> Image.Image:
        """A strip of the photo, which begins with row ``top``, with 8 bits a value."""
        if self._image.mode.startswith(("I", "F")):
            grey = _to_8_bits(self._grey(strip), *self._range)
            if self._tag(PHOTOMETRIC) == 0:  # white is zero, which Pillow heeds up to 8 bits
                grey = 255 - grey
            return Image.fromarray(grey)
        if self._low is None:
            return strip
        values = self._colour(strip, top)
        bands = [_to_8_bits(values[..., band], *self._range) for band in range(3)]
        bands += [(values[..., band] >> 8).astype(np.uint8) for band in range(3, values.shape[2])]
        return Image.fromarray(np.stack(bands, axis=2))

    def _extremes(self) -> tuple[float, float]:
        """The least and the greatest value, transparency aside."""
        least, most = float("inf"), float("-inf")
        for top, strip in strips(self._image):
            is_grey = self._low is None
            values = self._grey(strip) if is_grey else self._colour(strip, top)[..., :3]
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                raise UnreadablePhoto(
                    "it has pixels that are no numbers (NaN) or infinite; give them a value"
                )
            least, most = min(least, float(values.min())), max(most, float(values.max()))
        return least, most

    def _type_range(self) -> tuple[float, float]:
        """The range of the type of one band's values."""
        image = self._image
        if image.mode == "F":
            return 0, 1
        if image.format == "JPEG2000" and isinstance(self._depth, tuple):
            raise UnreadablePhoto(
                f"how many bits its format, JPEG 2000, has scaled it from is not known; {REMEDY}"
            )
        if self._maximum:
            return 0, self._maximum
        bits, is_signed = self._type()
        return -(2 ** (bits - 1)) if is_signed else 0, 2 ** (bits - is_signed) - 1

    def _type(self) -> tuple[int, bool]:
        """How many bits the values of one band have, and whether one of them is their sign."""
        if self._image.format == "TIFF":
            return self._tag(BITS)[0], self._tag(FORMAT, (1,))[0] == SIGNED
        if self._image.format == "PPM" or self._image.mode.startswith("I;16"):
            return 16, False
        return 32, True

    def _grey(self, strip: Image.Image) -> np.ndarray:
        """The values (h, w) of one band."""
        values = np.asarray(strip)
        if strip.mode == "F":
            return values
        if self._maximum:
            return values * (self._maximum / 65535)
        return values.view(np.uint32) if self._type() == (32, False) else values

    def _colour(self, strip: Image.Image, top: int) -> np.ndarray:
        """The values of a strip in colour, or with transparency: uint16 (h, w, 3 or 4)."""
        assert self._low is not None, "the low bytes are read by then"
        low = np.asarray(self._low.crop((0, top, strip.width, top + strip.height)))
        if _rawmode(self._tiles[0]) == "LA;16B":
            pixels = low.astype(np.uint16)
            grey, alpha = (pixels[..., n] << 8 | pixels[..., n + 1] for n in (0, 2))
            return np.stack([grey, grey, grey, alpha], axis=2)
        return np.asarray(strip).astype(np.uint16) << 8 | low

    def _low_bytes(self) -> Image.Image:
        """The photo with the low byte of each value, of which Pillow keeps the high one; of grey
        with transparency, both bytes of both.

        The file is read once more for them.
        """
        kinds = {_rawmode(tile) for tile in self._tiles}
        kind = kinds.pop()
        form, _, order = kind.partition(";16")
        if kind == "LA;16B":
            return self._read_as("RGBA")
        if kinds or form not in ("RGB", "RGBA") or order not in OTHER_BYTE:
            raise UnreadablePhoto(
                f"colours of 16 bits in this {self._image.format} can be scaled by nothing but "
                f"their type's range (ingest.depth: type); save it as PNG"
            )
        return self._read_as(f"{form};16{OTHER_BYTE[order]}")

    def _read_as(self, rawmode: str) -> Image.Image:
        """The file, its bytes taken for others."""
        with open_image(self._content) as image:
            image.tile = [tile._replace(args=_with_rawmode(tile, rawmode)) for tile in image.tile]
            image.load()
            return image

    def _tag(self, number: int, default: Any = None) -> Any:
        """A tag of a TIFF; ``default`` where it is missing, or the photo is none."""
        if isinstance(self._image, TiffImagePlugin.TiffImageFile):
            return self._image.tag_v2.get(number, default)
        return default

    def _misfit(self, least: float, most: float) -> Misfit:
        """How values from ``least`` to ``most`` go with the range that they are scaled from."""
        low, high = self._range
        shade = (high - low) / 255
        if self._depth == "photo":
            return Misfit.NONE
        if self._depth == "type" and (least < low - shade or most > high + shade):
            return Misfit.BEYOND
        is_narrow = min(most, high) - max(least, low) <= (high - low) * SMALL_PART
        return Misfit.NARROW if is_narrow else Misfit.NONE


def _to_8_bits(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Numbers of any kind, ``low`` to 0 and ``high`` to 255, others to the nearer: uint8."""
    kind: Any = np.float32 if values.dtype.itemsize <= 2 else np.float64
    shades: Any = values.astype(kind)  # changed in place: it is large
    shades -= low
    shades /= (high - low) or 1  # of one value only: black
    shades *= 255
    return np.rint(shades.clip(0, 255, out=shades), out=shades).astype(np.uint8)

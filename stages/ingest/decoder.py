"""The decoder: any photo → uint8 RGB of one size. Whatever opens photos for a model asks it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageFile

from stages.cores import cores
from stages.image_formats import open_image
from stages.ingest.budget import Budget
from stages.ingest.colour_profiles import to_srgb
from stages.ingest.deep_pixels import REMEDY, DeepImage, Misfit, check_bands, is_deep
from stages.ingest.form import Depth, Fit, shares
from stages.ingest.images import UnreadablePhoto
from stages.ingest.shrinking import WHOLE, Part, shrink

MOST_SCANS = 100  # of a progressive JPEG; encoders make ten or so
BARS = (124, 116, 104)  # ImageNet's mean, which is 0 to most backbones
LEAST_CONTRAST = 8  # of 255, between the cells of a difference hash
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

# Pillow otherwise gives an image's memory back to the system, which has to clear it for the next;
# so many pieces of 16 MiB at most, enough for those of one photo. (Of large ones nothing is kept.)
Image.core.set_blocks_max(4)

# Bytes a pixel that decoders take beside the photo itself, at most: they have it in planes, or in
# whole rows and strips of it. tests/ingest/test_fuzz.py measures them.
BESIDE = {"WEBP": 20, "AVIF": 12, "HEIF": 12, "JPEG2000": 16, "TIFF": 6}
BESIDE_OTHERS = 2
BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2}  # a pixel; others have 4
COEFFICIENTS = 6  # bytes a pixel of the whole photo, of a progressive JPEG
CONVERTED = 16  # bytes a pixel of what is brought to RGB at once

BUDGET = Budget(cores())  # of this process and its forks

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


class Photo(NamedTuple):
    """A decoded photo.

    Attributes:
        pixels: uint8 (size, size, 3).
        width, height: its own.
        misfit: how it goes with the range that it was scaled from.
    """

    pixels: np.ndarray
    width: int
    height: int
    dhash: int | None
    misfit: Misfit = Misfit.NONE


def decode(
    content: bytes,
    size: int,
    depth: Depth = "type",
    fit: Fit = "stretch",
    budget: Budget | None = None,
) -> Photo:
    """Decodes a file of any format of ``stages.image_formats`` to ``size`` × ``size`` RGB.

    EXIF orientation and colour profiles are honoured, transparency is laid over white, and the
    resize is antialiased (bilinear over the support of the scale).

    Args:
        depth: how pixels deeper than 8 bits are scaled.
        fit: ``stretch`` does not keep the aspect. ``crop`` shows the middle, the shorter side of
            it whole, as torchvision's ``Resize`` and ``CenterCrop`` do; ``pad`` shows all, with
            bars of ``BARS`` beside it.
        budget: of memory; None: that of this process and of its forks.

    Raises:
        UnreadablePhoto: the file is empty, truncated, no image, or a decompression bomb; it would
            lose a band, or take more memory than there is; or its format needs a plug-in that is
            missing.
    """
    if not content:
        raise UnreadablePhoto("the file is empty")
    with _reasons(content), open_image(content) as image:
        _check(image, content, depth)
        deep = DeepImage(image, content, depth) if is_deep(image) else None
        width, height = image.size
        # Large JPEGs are decoded at a fraction of their size, never below twice ours.
        image.draft(None, (2 * size, 2 * size))
        with (budget or BUDGET).room(_needed(image, width * height, deep is not None)):
            image.load()
            _check_pixels(*image.size)  # again: a plug-in may learn it only now
            misfit = deep.measure() if deep else Misfit.NONE
            # Its hash is that of the whole: the same photos are alike however they are fitted.
            parts = [_part(image, size, (1.0, 1.0))]
            if fit != "stretch":
                parts.append(_part(image, size, shares(fit, width, height)))
            shown = shrink(image, parts, _to_rgb(image, deep))
            turn = _turn(image)
        if image.mode in ("RGB", "RGBA", "P"):
            to_srgb(shown, image.info.get("icc_profile"))
    squares = [_square(each, size, turn) for each in shown]
    if turn in SIDEWAYS:
        width, height = height, width
    return Photo(np.asarray(squares[-1]), width, height, difference_hash(squares[0]), misfit)


@contextmanager
def _reasons(content: bytes) -> Iterator[None]:
    """Says of whatever goes wrong with a file why it is no photo."""
    try:
        yield
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadablePhoto(f"decompression bomb: {error}") from error
    except Image.UnidentifiedImageError as error:
        if content.startswith(TIFF):
            raise UnreadablePhoto(f"a TIFF of a kind that Pillow cannot read; {REMEDY}") from error
        raise UnreadablePhoto("not an image of a format that is read") from error
    except ImportError as error:
        raise UnreadablePhoto("HEIC needs a plug-in of Pillow: pip install pillow-heif") from error
    except UnreadablePhoto:
        raise
    except MemoryError as error:
        raise UnreadablePhoto("decoding it takes more memory than there is") from error
    except Exception as error:  # Pillow's decoders raise whatever a broken file leads them to
        raise UnreadablePhoto(f"cannot be decoded: {' '.join(str(error).split())}") from error


def _part(image: Image.Image, size: int, in_square: tuple[float, float]) -> Part:
    """What is shown of an image in a square of ``size``; ``in_square`` are its ``shares``."""
    across, down = in_square
    shown = image.width * min(1.0, across), image.height * min(1.0, down)
    left, top = (image.width - shown[0]) / 2, (image.height - shown[1]) / 2
    sides = max(1, round(size / max(1.0, across))), max(1, round(size / max(1.0, down)))
    # Only what is shown is resized. The whole would fill the memory where a file of a few kilobytes
    # is a thousand times as wide as it is high.
    return Part(sides, (left, top, left + shown[0], top + shown[1]))


def _square(part: Image.Image, size: int, turn: Image.Transpose | None) -> Image.Image:
    """What is shown of a photo, upright and in a square."""
    if turn is not None:
        part = part.transpose(turn)
    if part.size == (size, size):
        return part
    square = Image.new("RGB", (size, size), BARS)
    square.paste(part, ((size - part.width) // 2, (size - part.height) // 2))
    return square


def _check(image: ImageFile.ImageFile, content: bytes, depth: Depth) -> None:
    """Refuses, before it is loaded, what would do harm or come out wrong.

    Raises:
        UnreadablePhoto: says why.
    """
    _check_pixels(*image.size)
    # A scan goes over all pixels, and can say in a hundred bytes that none changes: a file of a few
    # megabytes would take hours.
    if image.info.get("progressive") and content.count(b"\xff\xda") > MOST_SCANS:
        raise UnreadablePhoto(f"decompression bomb: more than {MOST_SCANS} scans")
    check_bands(image, depth)


def _needed(image: ImageFile.ImageFile, pixels_of_file: int, is_deep: bool) -> int:
    """Bytes that decoding takes, at most, of an image that is not loaded yet."""
    pixels = image.width * image.height
    each = BYTES.get(image.mode, 4) + BESIDE.get(image.format or "", BESIDE_OTHERS)
    needed = each * pixels + 24 * (image.width + image.height)
    if image.info.get("progressive"):
        needed += COEFFICIENTS * pixels_of_file
    if is_deep and BYTES.get(image.mode, 4) == 4:
        needed += 4 * pixels  # of the low bytes
    if is_deep or image.mode != "RGB" or image.has_transparency_data:
        needed += CONVERTED * min(pixels, WHOLE)
    return needed


def _check_pixels(width: int, height: int) -> None:
    if width * height > (Image.MAX_IMAGE_PIXELS or float("inf")):
        raise UnreadablePhoto(
            f"decompression bomb: {width} × {height} pixels, more than {Image.MAX_IMAGE_PIXELS:,}"
        )


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


def _to_rgb(
    image: Image.Image, deep: DeepImage | None
) -> Callable[[Image.Image, int], Image.Image] | None:
    """What brings strips of a loaded photo to RGB, as ``shrink`` takes it."""
    if image.mode == "RGB" and not image.has_transparency_data and deep is None:
        return None

    def to_rgb(strip: Image.Image, top: int) -> Image.Image:
        shallow = deep.scaled(strip, top) if deep else strip
        if shallow.has_transparency_data:
            shallow = shallow.convert("RGBA")
            paper = Image.new("RGBA", shallow.size, "white")
            shallow = Image.alpha_composite(paper, shallow)
        return shallow.convert("RGB")

    return to_rgb

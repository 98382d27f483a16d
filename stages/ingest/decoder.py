"""The decoder: any photo → uint8 RGB of one size. Whatever opens photos for a model asks it."""

from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageFile

from stages.image_formats import open_image
from stages.ingest.deep_pixels import REMEDY, DeepImage, Misfit, check_bands, is_deep
from stages.ingest.form import Depth, Fit, shares
from stages.ingest.images import UnreadablePhoto

MOST_SCANS = 100  # of a progressive JPEG; encoders make ten or so
BARS = (124, 116, 104)  # ImageNet's mean, which is 0 to most backbones
LEAST_CONTRAST = 8  # of 255, between the cells of a difference hash
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

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


def decode(content: bytes, size: int, depth: Depth = "type", fit: Fit = "stretch") -> Photo:
    """Decodes a file of any format of ``stages.image_formats`` to ``size`` × ``size`` RGB.

    EXIF orientation is honoured, transparency is laid over white, and the resize is antialiased
    (bilinear over the support of the scale).

    Args:
        depth: how pixels deeper than 8 bits are scaled.
        fit: ``stretch`` does not keep the aspect. ``crop`` shows the middle, the shorter side of
            it whole, as torchvision's ``Resize`` and ``CenterCrop`` do; ``pad`` shows all, with
            bars of ``BARS`` beside it.

    Raises:
        UnreadablePhoto: the file is empty, truncated, no image, or a decompression bomb; it would
            lose a band; or its format needs a plug-in that is missing.
    """
    if not content:
        raise UnreadablePhoto("the file is empty")
    try:
        with open_image(content) as image:
            _check(image, content, depth)
            deep = DeepImage(image, content, depth) if is_deep(image) else None
            width, height = image.size
            # Large JPEGs are decoded at a fraction of their size, never below twice ours.
            image.draft(None, (2 * size, 2 * size))
            image.load()
            turn = _turn(image)
            shallow, misfit = deep.scaled() if deep else (image, Misfit.NONE)
            colours = _to_rgb(shallow)
            # Its hash is that of the whole photo: the same ones are alike however they are fitted.
            stretched = fitted = _square(colours, size, (1.0, 1.0), turn)
            if fit != "stretch":
                fitted = _square(colours, size, shares(fit, width, height), turn)
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
    except Exception as error:  # Pillow's decoders raise whatever a broken file leads them to
        raise UnreadablePhoto(f"cannot be decoded: {error}") from error
    if turn in SIDEWAYS:
        width, height = height, width
    return Photo(np.asarray(fitted), width, height, difference_hash(stretched), misfit)


def _square(
    image: Image.Image, size: int, in_square: tuple[float, float], turn: Image.Transpose | None
) -> Image.Image:
    """An RGB image as a square, upright; ``in_square`` are its ``shares``."""
    across, down = in_square
    shown = image.width * min(1.0, across), image.height * min(1.0, down)
    left, top = (image.width - shown[0]) / 2, (image.height - shown[1]) / 2
    sides = max(1, round(size / max(1.0, across))), max(1, round(size / max(1.0, down)))
    # Only what is shown is resized. The whole would fill the memory where a file of a few kilobytes
    # is a thousand times as wide as it is high.
    box = (left, top, left + shown[0], top + shown[1])
    resized = image.resize(sides, Image.Resampling.BILINEAR, box)
    if turn is not None:
        resized = resized.transpose(turn)
    if resized.size == (size, size):
        return resized
    square = Image.new("RGB", (size, size), BARS)
    square.paste(resized, ((size - resized.width) // 2, (size - resized.height) // 2))
    return square


def _check(image: ImageFile.ImageFile, content: bytes, depth: Depth) -> None:
    """Refuses, before it is loaded, what would do harm or come out wrong.

    Raises:
        UnreadablePhoto: says why.
    """
    if image.width * image.height > (Image.MAX_IMAGE_PIXELS or float("inf")):
        raise UnreadablePhoto(
            f"decompression bomb: {image.width} × {image.height} pixels, more than "
            f"{Image.MAX_IMAGE_PIXELS:,}"
        )
    # A scan goes over all pixels, and can say in a hundred bytes that none changes: a file of a few
    # megabytes would take hours.
    if image.info.get("progressive") and content.count(b"\xff\xda") > MOST_SCANS:
        raise UnreadablePhoto(f"decompression bomb: more than {MOST_SCANS} scans")
    check_bands(image, depth)


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
    if image.has_transparency_data:
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(paper, image).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")  # which would copy it

"""Photos made small a strip at a time: a photo of kilobytes, of one bit a pixel, may have a hundred
million pixels, and sixteen bytes for each while all of it is converted to RGB."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from PIL import Image

WHOLE = 2**24  # pixels of a photo that is not taken in strips,
STRIP = 2**20  # and of a strip
LONGEST = 2**16  # pixels of a side; of one that is longer, the means of neighbours are taken first

BILINEAR = Image.Resampling.BILINEAR


class Part(NamedTuple):
    """What is shown of a photo, and how large.

    Attributes:
        sides: the width and height that it is brought to.
        box: its left, upper, right and lower edge in the photo.
    """

    sides: tuple[int, int]
    box: tuple[float, float, float, float]


def strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """A loaded image in strips, each with the number of its first row; a small one is whole."""
    if image.width * image.height <= WHOLE:
        yield 0, image
        return
    _, down = _factors(image)
    rows = max(STRIP // image.width // down, 1) * down
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def shrink(
    image: Image.Image,
    parts: Sequence[Part],
    to_rgb: Callable[[Image.Image, int], Image.Image] | None,
) -> list[Image.Image]:
    """Each part as ``resize`` would make it of the whole photo in RGB.

    In strips it may differ by a shade: a resize goes over rows and over columns, in the order that
    takes less time; here it is over rows first, which need not know of each other.

    Args:
        image: is loaded.
        to_rgb: a strip of the image and the number of its first row → the strip in RGB. None: the
            image is in RGB.
    """
    # Weights take 16 bytes a pixel of a side, and the rows between the two passes are as many as
    # the photo's.
    across, down = _factors(image)
    parts = [_in_reduced(part, across, down) for part in parts]
    narrow: list[Image.Image] = []
    for top, strip in strips(image) if to_rgb else [(0, image)]:
        rgb = to_rgb(strip, top) if to_rgb else strip
        if across * down > 1:
            rgb = rgb.reduce((across, down))
        if strip is image:
            return [rgb.resize(sides, BILINEAR, box) for sides, box in parts]
        height = -(-image.height // down)
        narrow = narrow or [Image.new("RGB", (sides[0], height)) for sides, _ in parts]
        for target, (_, (left, _, right, _)) in zip(narrow, parts, strict=True):
            sides, box = (target.width, rgb.height), (left, 0, right, rgb.height)
            target.paste(rgb.resize(sides, BILINEAR, box), (0, top // down))
    return [
        target.resize(sides, BILINEAR, (0, upper, target.width, lower))
        for target, (sides, (_, upper, _, lower)) in zip(narrow, parts, strict=True)
    ]


def _factors(image: Image.Image) -> tuple[int, int]:
    """How many pixels of its width and of its height become one before the image is resized."""
    return -(-image.width // LONGEST), -(-image.height // LONGEST)


def _in_reduced(part: Part, across: int, down: int) -> Part:
    """A part of an image in the image made smaller by these factors."""
    left, upper, right, lower = part.box
    return Part(part.sides, (left / across, upper / down, right / across, lower / down))

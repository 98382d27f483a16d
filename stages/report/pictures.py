"""Pictures as data URIs, small enough that a page of hundreds of them is one file to send."""

import io
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from PIL import Image

from stages import UserError
from stages.ingest.images import ImageStore
from stages.network.description import Description

SIDES = (208, 160, 128, 96, 64)  # of thumbnails in pixels, the largest that fits
ROOM = 4_000_000  # bytes for all thumbnails together, of the page's 10 MB
QUALITY = 78  # of WebP; below, textures begin to smear
AT_ONCE = 64  # photos

LEVELS = 32  # of a heat map: few enough for half a kilobyte; the browser smooths them
HEAT_COLOURS, FEATURE_COLOURS = colormaps["inferno"], colormaps["viridis"]
OPAQUE = 0.85  # a heat map's hottest place
FEATURE_SIDE = 48  # pixels of a feature map, at most


@dataclass
class Thumbnails:
    """Photos, each of which is in the page once.

    Attributes:
        sources: data URIs, by row of the image store.
        given: the rows that stand in the page already.
        are_stretched: whether they are to be shown in the shape that the photos came in.
    """

    sources: dict[int, str]
    given: set[int]
    are_stretched: bool

    def first(self, image: int) -> str | None:
        """The photo where it stands for the first time; later None, and its place borrows it."""
        if image in self.given:
            return None
        self.given.add(image)
        return self.sources[image]


def thumbnails(images: Iterable[int], store: ImageStore, description: Description) -> Thumbnails:
    """The photos at these rows of the store, as large as there is room for.

    Raises:
        UserError: there is no room for so many, however small they are.
    """
    wanted = sorted(set(images))
    largest = min(SIDES[0], description.input_size)
    encoded: list[bytes] = []
    for side in [largest, *(side for side in SIDES if side < largest)]:
        encoded = []
        for start in range(0, len(wanted), AT_ONCE):
            photos = as_seen(store, np.array(wanted[start : start + AT_ONCE]), description)
            encoded += [webp(photo, side) for photo in photos]
            if sum(map(len, encoded)) > ROOM:
                break
        else:
            break
    else:
        raise UserError(
            f"the {len(wanted):,} photos of the page take more than {ROOM / 1e6:g} MB even at "
            f"{SIDES[-1]} pixels; lower report.photos or report.labels"
        )
    sources = (uri(content, "webp") for content in encoded)
    by_row = dict(zip(wanted, sources, strict=True))
    return Thumbnails(by_row, set(), are_stretched=store.form.fit == "stretch")


def as_seen(store: ImageStore, images: np.ndarray, description: Description) -> np.ndarray:
    """Photos cut to what the network sees: uint8 (n, side, side, 3).

    Args:
        images: int (n,), their rows in the store.
    """
    photos = store.gather(images)
    if not description.sees_images:
        return photos
    margin = (store.size - description.input_size) // 2
    cut = slice(margin, margin + description.input_size)
    return photos[:, cut, cut]


def webp(pixels: np.ndarray, side: int) -> bytes:
    """uint8 (size, size, 3) as a WebP of ``side`` × ``side`` pixels."""
    photo = Image.fromarray(pixels)
    if photo.width != side:
        photo = photo.resize((side, side), Image.Resampling.LANCZOS)
    content = io.BytesIO()
    photo.save(content, "webp", quality=QUALITY, method=2)
    return content.getvalue()


def heat_map(heat: np.ndarray) -> str:
    """A heat map, float (side, side), not negative, to be laid over its photo: a data URI.

    The hottest place is the brightest and hides the photo most; where nothing speaks for the label
    it is clear.
    """
    share = heat / (float(heat.max()) or 1.0)
    levels = np.linspace(0, 1, LEVELS)
    palette = (HEAT_COLOURS(levels)[:, :3] * 255).round().astype(np.uint8)
    alphas = (OPAQUE * np.sqrt(levels) * 255).round().astype(np.uint8)
    return _indexed((share * (LEVELS - 1)).round().astype(np.uint8), palette, alphas.tobytes())


def feature_map(channel: np.ndarray) -> str:
    """A map, float (side, side), in colours from its least to its largest answer: a data URI."""
    spread = float(np.ptp(channel)) or 1.0
    levels = ((channel - channel.min()) / spread * 255).round().astype(np.uint8)
    if len(levels) > FEATURE_SIDE:
        small = Image.fromarray(levels).resize((FEATURE_SIDE, FEATURE_SIDE), Image.Resampling.BOX)
        levels = np.asarray(small)
    levels = levels // 8  # 32 of them
    palette = (FEATURE_COLOURS(np.linspace(0, 1, LEVELS))[:, :3] * 255).round().astype(np.uint8)
    return _indexed(levels, palette, None)


def file(path: Path) -> tuple[str, int, int]:
    """A picture file as a WebP, about a third of its size: a data URI; width, height in pixels."""
    with Image.open(path) as picture:
        # Pictures of photos have a palette (figures.save_photos); others keep each line sharp.
        how = {"quality": QUALITY} if picture.mode == "P" else {"lossless": True, "quality": 0}
        content = io.BytesIO()
        picture.convert("RGB").save(content, "webp", method=1, **how)
        return uri(content.getvalue(), "webp"), *picture.size


def uri(content: bytes, kind: str) -> str:
    """A data URI of the content of a picture file, which is of the format ``kind``."""
    return f"data:image/{kind};base64,{b64encode(content).decode()}"


def _indexed(levels: np.ndarray, palette: np.ndarray, alphas: bytes | None) -> str:
    """A PNG of ``LEVELS`` colours, as a data URI; ``alphas`` has a byte for each of them."""
    picture = Image.fromarray(levels, "P")
    picture.putpalette(palette.tobytes())
    content = io.BytesIO()
    transparency = {} if alphas is None else {"transparency": alphas}
    picture.save(content, "png", optimize=True, bits=5, **transparency)
    return uri(content.getvalue(), "png")

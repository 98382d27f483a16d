"""An explanation as a picture, or as a page with all that it shows in one file."""

import io
import textwrap
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from PIL import Image

from stages import figures, printable
from stages.files import whole, write_text
from stages.words import Segmentation, words_of
from tagloom.heat import over_photo

SIDE = 448  # pixels of a picture's longer side
WIDTH, BELOW = 3.0, 0.75  # inches of a picture, and for what stands above and below it
COLUMNS, LETTERS_BELOW = 4, 44
WARM = colormaps["inferno"]
FULL_EFFECT = 4.0  # of a word on the logit: the mark's darkest
LEAST_EFFECT = 0.2  # a word that does less is not marked
WORDS = 6


@dataclass(frozen=True)
class Explained:
    """What speaks for one label.

    Attributes:
        label, probability, holds: what the model says.
        picture: uint8 (height, width, 3): the photo in grey, in colour where it speaks for the
            label; None: not known.
        words: of the caption, by how much each raises the label's logit.
        segmentation: what a word is.
    """

    label: str
    probability: float
    holds: bool
    picture: np.ndarray | None
    words: Mapping[str, float]
    segmentation: Segmentation = "letters"

    @property
    def strongest(self) -> str:
        """The words that do most, those that speak for the label first."""
        most = sorted(self.words.items(), key=lambda each: -abs(each[1]))[:WORDS]
        return ", ".join(f"{word} {effect:+.2f}" for word, effect in most if abs(effect) >= 0.005)

    def marked(self, caption: str | None) -> list[tuple[str, float]]:
        """The caption in pieces, each with the strength of its mark, from 0 (none) to 1."""
        text = caption or ""
        pieces, end = [], 0
        for word in words_of(text, self.segmentation):
            effect = self.words.get(word.text, 0.0)
            strength = min(effect / FULL_EFFECT, 1.0) if effect >= LEAST_EFFECT else 0.0
            pieces += [(text[end : word.start], 0.0), (text[word.start : word.end], strength)]
            end = word.end
        return [*pieces, (text[end:], 0.0)]


def upright(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """Brings a photo that was made square back to its shape, ``SIDE`` pixels at its longer side.

    Args:
        pixels: uint8 (size, size, 3).
        width, height: of the photo's file.
    """
    scale = SIDE / max(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))


def warmed(photo: np.ndarray, heat: np.ndarray, seen: tuple[float, float]) -> np.ndarray:
    """The photo in grey, in colour where there is heat, the brightest where there is most.

    Args:
        photo: uint8 (height, width, 3).
        heat, seen: as ``over_photo`` takes them.
    """
    height, width = photo.shape[:2]
    share = over_photo(heat, seen, width, height, Image.Resampling.BILINEAR)
    grey = np.asarray(Image.fromarray(photo).convert("L"))[:, :, None]
    weight = (0.15 + 0.6 * share)[:, :, None]
    return ((1 - weight) * grey + weight * 255 * WARM(share)[:, :, :3]).round().astype(np.uint8)


def write_picture(
    path: Path, title: str, photo: np.ndarray, caption: str | None, explained: Sequence[Explained]
) -> None:
    """Writes what ``draw`` draws as a PNG."""
    with whole(path) as temporary:
        figures.save_photos(draw(title, photo, caption, explained), temporary)


def draw(
    title: str, photo: np.ndarray, caption: str | None, explained: Sequence[Explained]
) -> Figure:
    """Draws the photo over its caption, then each label's picture over its words."""
    cells = [(None, photo, caption or ""), *((e, e.picture, e.strongest) for e in explained)]
    columns = min(COLUMNS, len(cells))
    rows = -(-len(cells) // columns)
    tall = WIDTH * photo.shape[0] / photo.shape[1]
    figure = figures.new(WIDTH * columns, (tall + BELOW) * rows + 0.4, figures.short(title, 60))
    for axes in figure.subplots(rows, columns, squeeze=False).flat:
        axes.set_axis_off()
    for axes, (part, picture, below) in zip(figure.axes, cells, strict=False):
        if picture is not None:
            axes.imshow(picture)
        if part is not None:
            text = f"{figures.short(part.label)} {part.probability:.2f}"
            figures.titled(axes, text if part.holds else f"({text})", weight="bold")
        lines = textwrap.wrap(printable(below), LETTERS_BELOW, max_lines=3, placeholder=" …")
        axes.text(
            0, -0.03, "\n".join(lines), size=8.5, va="top", color=figures.INK,
            transform=axes.transAxes, parse_math=False,
        )  # fmt: skip
    return figure


def write_page(
    path: Path, title: str, photo: np.ndarray, caption: str | None, explained: Sequence[Explained]
) -> None:
    """Writes an HTML page that shows the same, the words marked in the caption."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    templates = Environment(
        loader=PackageLoader("tagloom", ""), autoescape=True, undefined=StrictUndefined
    )
    page = templates.get_template("explain.html")
    write_text(
        path,
        page.render(title=title, photo=photo, caption=caption, explained=explained, uri=_uri),
    )


def _uri(pixels: np.ndarray) -> str:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "webp", quality=85)
    return f"data:image/webp;base64,{b64encode(content.getvalue()).decode()}"

"""Pages of photos for people: one a label, and one of what the backbone's layers make of photos."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.font_manager import FontProperties
from PIL import Image

from stages import figures
from stages.figures import DPI, INK, PALE, Figure
from stages.words import tokenize

PHOTO, MAP = 1.5, 1.1  # inches, as all lengths here
GAP, MARGIN = 0.22, 0.2
HEAD, SECTION, ABOVE, LINE = 0.75, 0.36, 0.2, 0.16
TEXT, SMALL = 8.5, 8  # points
CAPTION_LINES = 3
WARM, COLD_TO_HOT, MARKER = (colormaps[name] for name in ("inferno", "viridis", "Oranges"))
FULL_EFFECT = 4.0  # of a word on the logit: the marker's darkest

FEATURES = "feature_maps"  # the page that is no label's
HEADINGS = {
    "best": "Found, and the network is most certain",
    "typical": "Typical: about the median probability of the photos that carry the label",
    "false_positive": "Found wrongly, and the network is most certain",
    "false_negative": "Missed, and the network is most certain",
}


@dataclass(frozen=True)
class Example:
    """A photo on the page of a label.

    Attributes:
        photo: uint8 (size, size, 3), as the network sees it.
        heat: float (size, size), not negative, what speaks for the label; None: not known.
        probability: of the label.
        true: the labels it carries.
        caption: None: it has none.
        words: of the caption, by how much each raises the label's logit.
    """

    photo: np.ndarray
    heat: np.ndarray | None
    probability: float
    true: Sequence[str]
    caption: str | None
    words: Mapping[str, float]


def file_names(label_names: Sequence[str]) -> list[str]:
    """A name for the page of each label that every file system can take, no two alike."""
    taken = {FEATURES}
    names = []
    for label in label_names:
        plain = re.sub(r"[^\w.-]+", "-", label)[:60].strip("-.") or "label"
        name, number = plain, 2
        while name.casefold() in taken:  # some file systems do not tell a from A
            name, number = f"{plain}-{number}", number + 1
        taken.add(name.casefold())
        names.append(name)
    return names


def label_page(title: str, notes: str, examples: Mapping[str, Sequence[Example]]) -> Figure:
    """The examples of a label, a section for each kind, each photo beside its heat map.

    Args:
        notes: stands below the title.
        examples: of the kinds that ``HEADINGS`` names.
    """
    columns = max([len(part) for part in examples.values()] + [2])
    cell = 2 * PHOTO + GAP
    width = columns * cell - GAP + 2 * MARGIN
    captions = {
        kind: [_lines(example.caption or "", 2 * PHOTO) for example in part]
        for kind, part in examples.items()
    }
    rows = {
        kind: ABOVE + PHOTO + 0.2 + LINE * max(map(len, lines)) if lines else 0.0
        for kind, lines in captions.items()
    }
    page = _Page(width, HEAD + SECTION * len(rows) + sum(rows.values()), title, notes)
    top = HEAD
    for kind, part in examples.items():
        page.text(MARGIN, top + 0.2, HEADINGS[kind] + ("" if part else ": none"), 10, INK)
        top += SECTION
        for place, (example, lines) in enumerate(zip(part, captions[kind], strict=True)):
            _draw(page, example, lines, MARGIN + place * cell, top)
        top += rows[kind]
    return page.figure


def _draw(page: "_Page", example: Example, lines: list[str], left: float, top: float) -> None:
    end = page.text(left, top + 0.1, f"{example.probability:.3f}", 9, INK, weight="bold")
    carries = figures.short(f"true: {', '.join(example.true) or 'no label'}", 42)
    page.text(end + 0.08, top + 0.1, carries, SMALL, PALE)
    top += ABOVE
    page.image(_enlarged(example.photo, PHOTO), left, top)
    if example.heat is not None:
        warm = warmed(example.photo, example.heat)
        page.image(_enlarged(warm, PHOTO), left + PHOTO, top)
    for number, line in enumerate(lines):
        page.marked(left, top + PHOTO + 0.14 + number * LINE, line, example.words)


def warmed(photo: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """The photo in grey, in colour where there is heat, the brightest where there is most.

    uint8 (size, size, 3) and float (size, size), not negative → uint8 (size, size, 3).
    """
    grey = np.asarray(Image.fromarray(photo).convert("L"))
    share = heat / (float(heat.max()) or 1.0)
    weight = (0.25 + 0.5 * share)[:, :, None]
    mixed = (1 - weight) * grey[:, :, None] + weight * 255 * WARM(share)[:, :, :3]
    return mixed.round().astype(np.uint8)


def feature_page(
    title: str, photos: np.ndarray, stations: Sequence[str], maps: Sequence[np.ndarray]
) -> Figure:
    """A row for each photo: the photo, then the channels of each station, each on its own scale.

    Args:
        photos: uint8, (n, size, size, 3).
        stations: what stands above the maps of a layer.
        maps: for each station, float (n, channels, side, side).
    """
    cell = MAP + 0.05
    groups = [layer.shape[1] * cell + GAP for layer in maps]
    width = 2 * MARGIN + cell + GAP + sum(groups)
    page = _Page(width, HEAD + 0.25 + len(photos) * cell, title, "")
    starts = MARGIN + cell + GAP + np.cumsum([0, *groups])
    for start, station in zip(starts, stations, strict=False):
        page.text(start, HEAD, station, 9, INK)
    for row, photo in enumerate(photos):
        top = HEAD + 0.15 + row * cell
        page.image(_enlarged(photo, MAP), MARGIN, top)
        for start, layer in zip(starts, maps, strict=False):
            for place, channel in enumerate(layer[row]):
                page.image(_coloured(channel), start + place * cell, top)
    return page.figure


def _coloured(channel: np.ndarray) -> np.ndarray:
    """A map in colours from its least to its largest answer, each cell a square."""
    spread = float(np.ptp(channel)) or 1.0
    colours = COLD_TO_HOT((channel - channel.min()) / spread)[:, :, :3] * 255
    larger = channel.shape[0] > MAP * DPI
    how = Image.Resampling.BOX if larger else Image.Resampling.NEAREST
    return _enlarged(colours.round().astype(np.uint8), MAP, how)


def _enlarged(
    pixels: np.ndarray, side: float, how: Image.Resampling = Image.Resampling.LANCZOS
) -> np.ndarray:
    """uint8 (size, size, 3) at the number of pixels that ``side`` has on a page."""
    size = round(side * DPI)
    return np.asarray(Image.fromarray(pixels).resize((size, size), how))


def _lines(text: str, width: float) -> list[str]:
    """``text`` in as few lines as there are, at most ``CAPTION_LINES``."""
    lines = [""]
    for part in text.split():
        longer = f"{lines[-1]} {part}".lstrip()
        if not lines[-1] or _width(longer, TEXT) <= width:
            lines[-1] = longer
        elif len(lines) == CAPTION_LINES:
            lines[-1] += " …"
            break
        else:
            lines.append(part)
    return lines if lines[0] else []


@cache
def _renderer() -> RendererAgg:
    return RendererAgg(1, 1, DPI)


def _width(text: str, size: float, weight: str = "normal") -> float:
    font = FontProperties(size=size, weight=weight)
    return _renderer().get_text_width_height_descent(text, font, ismath=False)[0] / DPI


class _Page:
    """A figure measured from its top left corner, without axes: those take their time."""

    def __init__(self, width: float, height: float, title: str, notes: str) -> None:
        needed = max(_width(title, 13, "bold"), _width(notes, SMALL)) + 2 * MARGIN
        self._size = max(width, needed), height
        self.figure = Figure(self._size, dpi=DPI)
        self.text(MARGIN, 0.27, title, 13, INK, weight="bold")
        self.text(MARGIN, 0.53, notes, SMALL, PALE)

    def text(
        self,
        left: float,
        middle: float,
        text: str,
        size: float,
        color: str,
        weight: str = "normal",
        box: Mapping[str, object] | None = None,
    ) -> float:
        """Writes a line and returns where it ends."""
        width, height = self._size
        self.figure.text(
            left / width, 1 - middle / height, text, size=size, color=color, weight=weight,
            va="center_baseline", bbox=box, parse_math=False,
        )  # fmt: skip
        return left + _width(text, size, weight)

    def image(self, pixels: np.ndarray, left: float, top: float) -> None:
        """Lays uint8 (h, w, 3) on the page, pixel by pixel."""
        from_below = round(self._size[1] * DPI) - round(top * DPI) - len(pixels)
        self.figure.figimage(pixels, round(left * DPI), from_below)

    def marked(self, left: float, middle: float, line: str, effects: Mapping[str, float]) -> None:
        """Writes a line, each part of it marked by the largest effect of its words."""
        for part in line.split():
            effect = max([effects.get(word, 0.0) for word in tokenize(part)], default=0.0)
            share = min(max(effect / FULL_EFFECT, 0.0), 1.0)
            colour = MARKER(0.1 + 0.4 * share)
            box = {"facecolor": colour, "linewidth": 0, "pad": 1.5} if share > 0.05 else None
            left = self.text(left, middle, part, TEXT, INK, box=box) + _width(" ", TEXT)

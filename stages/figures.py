"""Pictures for people, with matplotlib's objects alone: no window, no global state but fonts.

The same content gives the same bytes: whatever matplotlib's version would write into the file's
metadata is left out.
"""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import matplotlib
import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from PIL import Image

from stages import printable

DPI = 100
INK, PALE, ACCENT, SECOND = "#222222", "#8a8a8a", "#3b6ea5", "#d98032"
HEAT = "Blues"
WHITE = 255

UPRIGHT = 3  # characters that fit below a column
THUMBNAIL = 1.2  # inches
GAP = 0.14
CAPTION_LINES, CAPTION_WIDTH = 3, 23  # of a contact sheet; characters

# For signs that matplotlib's own font lacks, as those of Chinese: what systems bring or is often
# added to them; those that are there are asked in this order.
FALLBACKS = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Noto Sans JP", "Noto Sans KR"),
    *("PingFang SC", "Hiragino Sans", "Hiragino Sans GB", "Apple SD Gothic Neo", "STHeiti"),
    *("Microsoft YaHei", "Yu Gothic", "MS Gothic", "Malgun Gothic", "SimHei", "Leelawadee UI"),
    *("WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "Droid Sans Fallback", "Noto Sans Thai"),
    *("Noto Sans Devanagari", "Nirmala UI", "Noto Sans Bengali", "Noto Sans Tamil"),
    *("Noto Sans Ethiopic", "Noto Sans Khmer", "Arial Unicode MS", "Unifont"),
)


def add_fallbacks() -> None:
    """Has matplotlib ask those of ``FALLBACKS`` that this machine has, after its own font."""
    there, asked = font_manager.get_font_names(), matplotlib.rcParams["font.family"]
    more = (name for name in FALLBACKS if name in there and name not in asked)
    matplotlib.rcParams["font.family"] = [*asked, *more]


add_fallbacks()


def new(width: float, height: float, title: str = "") -> Figure:
    """An empty figure of ``width`` × ``height`` inches that lays its parts out by itself."""
    figure = Figure((width, height), dpi=DPI, layout="constrained")
    if title:
        figure.suptitle(title, x=0.01, ha="left", size=13, color=INK, parse_math=False)
    return figure


def save(figure: Figure, target: Path | BinaryIO) -> None:
    """Writes ``figure`` as a PNG."""
    figure.savefig(target, format="png", facecolor="white", metadata={"Software": None})


def save_photos(figure: Figure, path: Path) -> None:
    """Writes a ``figure`` with photos as a PNG of 256 colours, a third of the size."""
    canvas = FigureCanvasAgg(figure)  # which matplotlib has not annotated
    canvas.draw()  # type: ignore[no-untyped-call]
    drawn = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    full = Image.fromarray(drawn).convert("RGB")
    pixels = np.asarray(full)
    is_white = (pixels == WHITE).all(axis=-1)
    # A sixteenth of the pixels is enough to find the colours; white is one of them.
    sample = Image.fromarray(pixels[~is_white][None, ::16].copy())
    palette = sample.quantize(255, Image.Quantize.MEDIANCUT, kmeans=1)
    colors = [*(palette.getpalette() or ()), WHITE, WHITE, WHITE]
    palette.putpalette(colors)
    indices = np.asarray(full.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG))
    few = Image.fromarray(np.where(is_white, len(colors) // 3 - 1, indices).astype(np.uint8), "P")
    few.putpalette(colors)
    few.save(path, "png", optimize=True)


def plain(axes: Axes) -> None:
    """Takes away the frame and ticks that say nothing."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(PALE)
    axes.tick_params(length=0, labelsize=9, colors=INK)


def titled(axes: Axes, title: str, weight: str = "normal") -> None:
    """Sets the title of one part of a figure, at its left."""
    axes.set_title(title, loc="left", size=10.5, weight=weight, color=INK, parse_math=False)


def bars(
    axes: Axes,
    names: Sequence[str],
    lengths: Sequence[float],
    texts: Sequence[str],
    slots: int = 0,
) -> None:
    """Horizontal bars from top to bottom, each with its text at the end.

    ``slots`` is how many bars there is room for, so that those of neighbours are as thick.
    """
    places = np.arange(len(names))
    axes.barh(places, lengths, height=0.75, color=ACCENT)
    for place, length, text in zip(places, lengths, texts, strict=True):
        axes.annotate(
            text, (length, place), (3, 0), textcoords="offset points", va="center", size=8.5,
            color=INK, parse_math=False,
        )  # fmt: skip
    plain(axes)
    axes.set_yticks(places, [short(name, 40) for name in names], parse_math=False)
    axes.set_ylim(max(slots, len(names)) - 0.4, -0.6)
    axes.set_xlim(0, 1.25 * max([*lengths, 1e-9]))  # room for the texts
    axes.xaxis.set_visible(False)
    axes.spines["bottom"].set_visible(False)


def heat_map(
    axes: Axes,
    values: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    texts: np.ndarray | None = None,
) -> AxesImage:
    """A matrix as colours from 0 to the largest; NaN stays white.

    Args:
        values: float, (rows, columns).
        texts: str, (rows, columns): what stands in the cells; None: nothing.
    """
    image = axes.imshow(values, cmap=HEAT, vmin=0, aspect="auto", interpolation="nearest")
    plain(axes)
    axes.spines[:].set_visible(False)
    axes.set_xticks(range(len(columns)), [short(name) for name in columns], parse_math=False)
    axes.set_yticks(range(len(rows)), [short(name) for name in rows], parse_math=False)
    if any(len(name) > UPRIGHT for name in columns):
        axes.tick_params("x", rotation=90)
    if texts is not None:
        dark = np.nan_to_num(values) > 0.55 * np.nanmax(values, initial=0)
        for (row, column), text in np.ndenumerate(texts):
            color = "white" if dark[row, column] else INK
            axes.text(column, row, text, ha="center", va="center", size=7.5, color=color)
    return image


def contact_sheet(
    title: str,
    photos: Sequence[np.ndarray | None],
    names: Sequence[str],
    captions: Sequence[str],
    columns: int,
) -> Figure:
    """Photos in rows of ``columns``, each under its name and over its caption.

    Args:
        photos: uint8, (height, width, 3) each; None: an empty frame.
        names: what stands above a photo, in bold.
        captions: what stands below it, in up to three lines.
    """
    cell_width = THUMBNAIL + GAP
    cell_height = THUMBNAIL + 0.78
    rows = -(-len(photos) // columns)
    margin, head = 0.15, 0.5
    width = max(columns * cell_width + 2 * margin, 0.095 * len(title) + 2 * margin)
    height = rows * cell_height + head
    figure = Figure((width, height), dpi=DPI)
    figure.text(
        margin / width, 1 - 0.25 / height, title, size=13, va="center", color=INK, parse_math=False
    )
    for place, photo in enumerate(photos):
        row, column = divmod(place, columns)
        left, top = margin + column * cell_width, head + row * cell_height + 0.2
        box = (left, height - top - THUMBNAIL, THUMBNAIL, THUMBNAIL)
        axes = figure.add_axes((box[0] / width, box[1] / height, box[2] / width, box[3] / height))
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(photo is None)
        axes.spines[:].set_color("#dddddd")
        if photo is not None:
            axes.imshow(photo)
        axes.set_title(
            short(names[place]), loc="left", size=8.5, weight="bold", pad=3, parse_math=False
        )
        axes.text(
            0, -0.03, wrapped(captions[place]), size=7, va="top", color=INK, linespacing=1.15,
            transform=axes.transAxes, parse_math=False,
        )  # fmt: skip
    return figure


def short(text: str, most: int = 24) -> str:
    """``text`` in one line of at most ``most`` characters, each of them one that is drawn."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"


def wrapped(text: str) -> str:
    """``text`` in the lines a contact sheet has room for."""
    lines = textwrap.wrap(printable(text), CAPTION_WIDTH, max_lines=CAPTION_LINES, placeholder=" …")
    return "\n".join(lines)

"""The picture of a comparison: quality against costs with their Pareto fronts, above the table."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from matplotlib.transforms import Bbox

DPI = 120
INK, PALE, FAINT = "#222222", "#8a8a8a", "#e4e4e4"
# Blue and orange are told apart by everyone; the shape of the marks says the same.
BEHIND, AHEAD = "#3b6ea5", "#d9730d"

# Inches.
MARGIN, GAP = 0.3, 0.22
PANEL_HEIGHT, PANEL_LEFT, PANEL_BOTTOM = 4.3, 0.75, 0.6
ROW, DOTS, NOTE = 0.27, 2.0, 0.19
LEAST_WIDTH = 11.0

TABLE_SIZE, LABEL_SIZE, NOTE_SIZE = 8.5, 8.5, 8.0  # points
MOST_LETTERS = 34
LOG_FROM = 10  # largest by smallest cost

# Where a label may stand: distances in points, directions in degrees, the nicest first.
DISTANCES = (8, 14, 22, 32, 44, 58)
DIRECTIONS = (0, 180, 90, 270, 45, 315, 135, 225)
LEADER_FROM = 14  # points; from here on a thin line leads to the label

Interval = tuple[float, float, float]  # low, value, high
Line = tuple[tuple[float, float], tuple[float, float]]  # from, to
Box = tuple[float, float, float, float]  # left, bottom, right, top


@dataclass(frozen=True)
class Panel:
    """A panel of the picture: what a row costs (None: not known), and who is on the front."""

    label: str
    costs: Sequence[float | None]
    front: Sequence[bool]


def draw(
    path: Path,
    quality: str,
    intervals: Sequence[Interval],
    panels: Sequence[Panel],
    header: Sequence[str],
    cells: Sequence[Sequence[str]],
    notes: Sequence[str],
) -> None:
    """Writes a PNG: a scatter panel for each of ``panels``, and the table with its ``notes``.

    ``quality`` names what ``intervals`` are of; ``cells`` are a row for each of them, its name
    first.
    """
    table = [[_short(cell) for cell in row] for row in [header, *cells]]
    widths = [max(_text_width(cell) for cell in column) for column in zip(*table, strict=True)]
    width = max(LEAST_WIDTH, 2 * MARGIN + DOTS + sum(widths) + GAP * len(widths))
    lines = [line for note in notes for line in textwrap.wrap(note, int(width * 15))]
    bottom = MARGIN + NOTE * len(lines)
    table_height = ROW * (len(cells) + 1)
    height = bottom + 0.15 + table_height + 0.3 + PANEL_BOTTOM + PANEL_HEIGHT + 0.5
    figure = Figure((width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)

    _draw_notes(figure, lines, bottom)
    _draw_table(figure, table, widths, intervals, panels, bottom + 0.15)
    names = [row[0] for row in table[1:]]
    each = (width - 2 * MARGIN) / len(panels)
    for i, panel in enumerate(panels):
        left = MARGIN + i * each + PANEL_LEFT
        axes = figure.add_axes(
            _in_figure(
                figure, left, height - 0.5 - PANEL_HEIGHT, each - PANEL_LEFT - 0.15, PANEL_HEIGHT
            )
        )
        _draw_panel(axes, panel, names, intervals)
        axes.set_title(
            f"{quality} by {panel.label}", loc="left", size=11, color=INK, parse_math=False
        )
    figure.savefig(path, format="png", metadata={"Software": None})


def _draw_panel(
    axes: Axes, panel: Panel, names: Sequence[str], intervals: Sequence[Interval]
) -> None:
    shown = [i for i, cost in enumerate(panel.costs) if cost is not None]
    costs = {i: panel.costs[i] for i in shown}
    axes.set_axisbelow(True)
    axes.grid(color=FAINT, linewidth=0.7)
    _set_limits(axes, list(costs.values()), [intervals[i] for i in shown])
    ahead = sorted((i for i in shown if panel.front[i]), key=lambda i: (costs[i], intervals[i][1]))
    steps = _steps([(costs[i], intervals[i][1]) for i in ahead], axes.get_xlim()[1])
    for line in steps:
        axes.plot(*zip(*line, strict=True), color=AHEAD, linewidth=1.4, alpha=0.8)
    for i in shown:
        low, value, high = intervals[i]
        color = AHEAD if panel.front[i] else BEHIND
        axes.vlines(costs[i], low, high, color=color, linewidth=1.1, alpha=0.55)
        axes.plot(costs[i], value, **_mark(panel.front[i], 8))
    axes.set_xlabel(panel.label, size=9.5, color=INK)
    _plain(axes)
    points = {i: axes.transData.transform((costs[i], intervals[i][1])) for i in shown}
    lines = [((costs[i], intervals[i][0]), (costs[i], intervals[i][2])) for i in shown]
    lines += steps
    bars = [Bbox(axes.transData.transform(line)) for line in lines]
    _label(axes, points, {i: names[i] for i in [*ahead, *set(shown).difference(ahead)]}, bars)


def _steps(points: Sequence[tuple[float, float]], end: float) -> list[Line]:
    """From each point to the right until the next one, which is higher, and up to it."""
    lines = []
    for (x, y), (until, upper) in pairwise([*points, (end, points[-1][1])] if points else []):
        lines += [((x, y), (until, y)), ((until, y), (until, upper))]
    return lines


def _set_limits(axes: Axes, costs: Sequence[float], intervals: Sequence[Interval]) -> None:
    """Room around everything, a logarithmic axis where costs differ much, plain numbers."""
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.4g}"))
    low, high = min(costs, default=0), max(costs, default=1)
    if low > 0 and high / low > LOG_FROM:
        axes.set_xscale("log")
        room = (high / low) ** 0.12
        axes.set_xlim(low / room, high * room**1.5)
        few = high / low < 1000
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.4g}"))
    else:
        room = 0.12 * (high - low) or 0.1 * abs(high) or 1
        axes.set_xlim(low - room, high + 1.5 * room)
        axes.xaxis.set_major_locator(MaxNLocator(7))
    low = min((each[0] for each in intervals), default=0)
    high = max((each[2] for each in intervals), default=1)
    room = 0.1 * (high - low) or 0.01
    axes.set_ylim(low - room, high + room)


def _label(
    axes: Axes,
    points: dict[int, tuple[float, float]],
    names: dict[int, str],
    bars: Sequence[Bbox],
) -> None:
    """Writes each name where it hides no mark and no other name, as near its mark as may be.

    One that fits nowhere is left to the table, which has the same order from top to bottom.
    Greedy, as Christensen, Marks and Shieber (1995) call their simplest method.
    """
    scale = axes.figure.dpi / 72
    inside = axes.get_window_extent()
    taken: list[Box] = [
        (x - 4 * scale, y - 4 * scale, x + 4 * scale, y + 4 * scale) for x, y in points.values()
    ]
    height = LABEL_SIZE * scale * 1.15
    for i, name in names.items():
        width = _text_width(name, LABEL_SIZE) * axes.figure.dpi
        best: tuple[float, float, float, Box] | None = None
        for distance in DISTANCES:
            for place, degrees in enumerate(DIRECTIONS):
                dx, dy = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
                x = points[i][0] + distance * scale * dx + (dx - 1) / 2 * width
                y = points[i][1] + distance * scale * dy + (dy - 1) / 2 * height
                box = (x, y, x + width, y + height)
                if not _within(box, inside) or any(_overlap(box, other) for other in taken):
                    continue
                crossed = sum(_overlap(box, (b.xmin, b.ymin, b.xmax, b.ymax)) for b in bars)
                cost = distance / 4 + 0.3 * place + 6 * crossed
                if best is None or cost < best[0]:
                    best = (cost, distance, degrees, box)
        if best is None:
            continue
        _, distance, _, box = best
        taken.append(box)
        axes.annotate(
            name,
            xy=points[i],
            xycoords="figure pixels",
            xytext=((box[0] + box[2]) / 2, (box[1] + box[3]) / 2),
            textcoords="figure pixels",
            ha="center",
            va="center",
            size=LABEL_SIZE,
            color=INK,
            parse_math=False,
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
            arrowprops={"arrowstyle": "-", "color": PALE, "linewidth": 0.6, "shrinkB": 4}
            if distance >= LEADER_FROM
            else None,
        )


def _draw_table(
    figure: Figure,
    table: Sequence[Sequence[str]],
    widths: Sequence[float],
    intervals: Sequence[Interval],
    panels: Sequence[Panel],
    bottom: float,
) -> None:
    """Names at the left, beside them the intervals drawn, then the cells."""
    rows = len(table) - 1
    height = ROW * (rows + 1)
    full = figure.get_figwidth() - 2 * MARGIN
    axes = figure.add_axes(_in_figure(figure, MARGIN, bottom, full, height))
    axes.set(xlim=(0, full), ylim=(rows - 0.5, -1.5))
    axes.axis("off")
    for i in range(rows):
        axes.axhline(i - 0.5, color=FAINT if i else PALE, linewidth=0.8)
    gap = (full - DOTS - sum(widths)) / len(widths)
    ends = [widths[0]]
    for width in widths[1:]:
        ends.append(ends[-1] + gap + width + (DOTS + gap if len(ends) == 1 else 0))
    for i, row in enumerate(table):
        ahead = i > 0 and any(panel.front[i - 1] for panel in panels)
        for j, cell in enumerate(row):
            axes.text(
                0 if j == 0 else ends[j],
                i - 1,
                cell,
                ha="left" if j == 0 else "right",
                va="center",
                size=TABLE_SIZE,
                color=AHEAD if ahead and j == len(row) - 1 else INK if i else PALE,
                parse_math=False,
            )
    dots = figure.add_axes(_in_figure(figure, MARGIN + widths[0] + gap, bottom, DOTS, height - ROW))
    dots.set_ylim(rows - 0.5, -0.5)
    for i, (low, value, high) in enumerate(intervals):
        ahead = any(panel.front[i] for panel in panels)
        dots.hlines(i, low, high, color=AHEAD if ahead else BEHIND, linewidth=1.4, alpha=0.6)
        dots.plot(value, i, **_mark(ahead, 6))
    dots.xaxis.tick_top()
    dots.xaxis.set_major_locator(MaxNLocator(3))
    dots.grid(axis="x", color=FAINT, linewidth=0.7)
    dots.set_axisbelow(True)
    _plain(dots)
    dots.spines[:].set_visible(False)
    dots.tick_params("x", labelsize=TABLE_SIZE - 1, labelcolor=PALE, pad=2)
    dots.set_yticks([])
    dots.patch.set_alpha(0)


def _draw_notes(figure: Figure, lines: Sequence[str], top: float) -> None:
    for i, line in enumerate(lines):
        x, y, *_ = _in_figure(figure, MARGIN, top - NOTE * (i + 0.5) - 0.05, 0, 0)
        figure.text(x, y, line, size=NOTE_SIZE, color="#555555", va="center", parse_math=False)


def _mark(ahead: bool, size: float) -> dict[str, object]:
    if ahead:
        return {"marker": "D", "color": AHEAD, "markersize": size * 0.8, "markeredgecolor": "white"}
    return {"marker": "o", "color": BEHIND, "markersize": size * 0.85, "markeredgecolor": "white"}


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(PALE)
    axes.tick_params(length=0, labelsize=9, colors=INK)


def _in_figure(figure: Figure, left: float, bottom: float, width: float, height: float) -> Box:
    """Inches to fractions of the figure."""
    across, up = figure.get_size_inches()
    return left / across, bottom / up, width / across, height / up


def _text_width(text: str, size: float = TABLE_SIZE) -> float:
    """Inches."""
    font = FontProperties(size=size)
    return _renderer().get_text_width_height_descent(text, font, False)[0] / DPI


@cache
def _renderer() -> RendererAgg:
    return FigureCanvasAgg(Figure(dpi=DPI)).get_renderer()


def _within(box: Box, frame: Bbox) -> bool:
    return box[0] >= frame.x0 and box[1] >= frame.y0 and box[2] <= frame.x1 and box[3] <= frame.y1


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _short(text: str) -> str:
    return text if len(text) <= MOST_LETTERS else text[: MOST_LETTERS - 1] + "…"

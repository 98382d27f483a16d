"""The picture of a comparison: quality against costs with their Pareto fronts, above the table."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise, product
from pathlib import Path
from typing import Any
from unicodedata import east_asian_width

import altair as alt
from PIL import Image, ImageFont

INK, SOFT, PALE, FAINT = "#222222", "#555555", "#8a8a8a", "#e4e4e4"
# Blue and orange are told apart by everyone; the shape of the marks says the same.
REST, FRONT = "#3b6ea5", "#d9730d"
SHAPES = ["circle", "M0,-1.2L1.2,0L0,1.2L-1.2,0Z"]  # the latter a diamond
SHAPE = alt.Shape("color:N", scale=alt.Scale(domain=[REST, FRONT], range=SHAPES), legend=None)
COLOR = alt.Color("color:N", scale=None)

# Pixels, of which the file has SCALE times as many.
SCALE = 1.5
LEAST_WIDTH, PANEL_HEIGHT, PANEL_GAP = 1100, 400, 75
ROW, DOTS, GAP = 25, 180, 22
FONT_SIZE = 12
# Its letters are about as wide as those of the font that vl-convert brings and draws with.
FONT = ImageFont.load_default(FONT_SIZE)
CONFIG = {
    "view": {"stroke": None},
    "title": {
        "anchor": "start", "frame": "group", "offset": 10, "fontWeight": "normal", "fontSize": 15,
        "color": INK,
    },
    "axis": {
        "gridColor": FAINT, "domainColor": PALE, "ticks": False, "labelColor": INK,
        "labelFontSize": FONT_SIZE, "labelPadding": 6, "titleColor": INK, "titleFontSize": 13,
        "titleFontWeight": "normal", "titlePadding": 8,
    },
    "text": {"fontSize": FONT_SIZE},
    "point": {"filled": True, "opacity": 1, "stroke": "white", "strokeWidth": 1},
}  # fmt: skip

MOST_LETTERS = 34
LOG_FROM = 10  # largest by smallest cost
LOG_TICKS = [step * 10.0**power for power in range(-9, 10) for step in (1, 2, 5)]

# Where a label may stand: distances in pixels; directions across and down, the nicest first.
DISTANCES = (9, 17, 27, 40, 56, 74)
DIRECTIONS = ((1, 0), (-1, 0), (0, -1), (0, 1), (0.7, -0.7), (-0.7, -0.7), (0.7, 0.7), (-0.7, 0.7))
BEFORE = {"left": 0, "center": 0.5, "right": 1}  # share of a label before where it is aligned
LEADER_FROM = 17  # pixels; from here on a thin line leads to the label

Interval = tuple[float, float, float]  # low, value, high
Point = tuple[float, float]  # pixels from the left and from the top
Box = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(frozen=True)
class Panel:
    """A panel of the picture: what a row costs (None: not known), and who is on the front."""

    label: str
    costs: Sequence[float | None]
    front: Sequence[bool]


@dataclass(frozen=True)
class Range:
    """What an axis shows."""

    low: float
    high: float
    is_log: bool = False

    @classmethod
    def around(cls, values: Sequence[float], may_be_log: bool = False) -> "Range":
        """With room at both ends; logarithmic, where it may be, if ``values`` differ much."""
        low, high = min(values, default=0), max(values, default=1)
        if may_be_log and low > 0 and high / low > LOG_FROM:
            room = (high / low) ** 0.12
            return cls(low / room, high * room, is_log=True)
        room = 0.12 * (high - low) or 0.1 * abs(high) or 1
        return cls(low - room, high + room)

    def place(self, value: float) -> float:
        """0 at the low end, 1 at the high one."""
        if self.is_log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def scale(self, **options: Any) -> alt.Scale:
        return alt.Scale(
            type="log" if self.is_log else "linear",
            domain=[self.low, self.high],
            nice=False,
            zero=False,
            **options,
        )

    def axis(self) -> alt.Axis:
        """Few and round ticks, plain numbers."""
        # With ``format`` a logarithmic axis would keep most labels back.
        plain = "format(datum.value, ',.4~r')"
        if not self.is_log:
            return alt.Axis(tickCount=7, labelExpr=plain)
        shown = [tick for tick in LOG_TICKS if self.low <= tick <= self.high]
        return alt.Axis(values=shown, labelExpr=plain, labelSeparation=8)


def save(chart: alt.VConcatChart, path: Path) -> None:
    """Writes ``chart`` as a PNG."""
    chart.save(path, format="png", scale_factor=SCALE)
    Image.open(path).convert("RGB").save(path, optimize=True)  # a quarter of the room


def picture(
    quality: str,
    intervals: Sequence[Interval],
    panels: Sequence[Panel],
    header: Sequence[str],
    cells: Sequence[Sequence[str]],
    notes: Sequence[str],
) -> alt.VConcatChart:
    """A scatter panel for each of ``panels``, and the table with its ``notes``.

    ``quality`` names what ``intervals`` are of; ``cells`` are a row for each of them, its name
    first.
    """
    table = [[_short(cell) for cell in line] for line in [header, *cells]]
    widths = [max(map(_text_width, column)) for column in zip(*table, strict=True)]
    width = max(LEAST_WIDTH, DOTS + sum(widths) + GAP * len(widths))
    panel_width = (width + PANEL_GAP) / len(panels) - PANEL_GAP
    names = [line[0] for line in table[1:]]
    scatters = [_scatter(quality, panel, names, intervals, panel_width) for panel in panels]
    fronts = zip(*(panel.front for panel in panels), strict=True)
    colors = [FRONT if any(front) else REST for front in fronts]
    lines = [line for note in notes for line in textwrap.wrap(note, int(width / 6))]
    below = alt.Title(lines, orient="bottom", offset=25, fontSize=11, lineHeight=17, color=SOFT)
    return alt.vconcat(
        alt.hconcat(*scatters, spacing=PANEL_GAP, bounds="flush"),
        _table(table, widths, intervals, colors, width),
        spacing=60,
        title=below,
        background="white",
        padding=25,
        config=CONFIG,
    )


def _scatter(
    quality: str,
    panel: Panel,
    names: Sequence[str],
    intervals: Sequence[Interval],
    width: float,
) -> alt.LayerChart:
    colors = [FRONT if is_on_front else REST for is_on_front in panel.front]
    rows: list[dict[str, Any]] = [
        {"name": name, "cost": cost, "low": low, "value": value, "high": high, "color": color}
        for name, cost, (low, value, high), color in zip(
            names, panel.costs, intervals, colors, strict=True
        )
        if cost is not None
    ]
    rows.sort(key=lambda row: row["color"] != FRONT)  # labelled in this order
    across = Range.around([row["cost"] for row in rows], may_be_log=True)
    up = Range.around([row[end] for row in rows for end in ("low", "high")])
    front = sorted((row["cost"], row["value"]) for row in rows if row["color"] == FRONT)
    front += [(across.high, value) for _, value in front[-1:]]

    def pixels(cost: float, value: float) -> Point:
        return across.place(cost) * width, (1 - up.place(value)) * PANEL_HEIGHT

    points = [pixels(row["cost"], row["value"]) for row in rows]
    lines = [(*pixels(row["cost"], row["high"]), *pixels(row["cost"], row["low"])) for row in rows]
    for (left, low), (right, high) in pairwise(pixels(*step) for step in front):
        lines += [(left, low, right, low), (right, high, right, low)]
    labels = _labels([row["name"] for row in rows], points, lines, width)

    x = alt.X("cost:Q", title=panel.label, scale=across.scale(), axis=across.axis())
    y = alt.Y("value:Q", title=None, scale=up.scale(), axis=alt.Axis(tickCount=6))
    steps = _chart([{"cost": cost, "value": value} for cost, value in front]).encode(x, y)
    marks = _chart(rows).encode(x, color=COLOR)
    texts = _chart(labels).encode(alt.X("x:Q", scale=None), alt.Y("y:Q", scale=None))
    text, align = texts.encode(text="name:N"), alt.expr("datum.align")
    layers = [
        steps.mark_line(interpolate="step-after", color=FRONT, opacity=0.8),
        marks.mark_rule(opacity=0.65, strokeWidth=1.5).encode(alt.Y("low:Q"), alt.Y2("high:Q")),
        texts.mark_rule(color=PALE, strokeWidth=0.8).encode(alt.X2("to_x"), alt.Y2("to_y")),
        marks.mark_point(size=75).encode(y, SHAPE),
        text.mark_text(align=align, stroke="white", strokeWidth=3),
        text.mark_text(align=align, color=INK),
    ]
    title = f"{quality} by {panel.label}"
    return alt.LayerChart(layer=layers, title=title, width=width, height=PANEL_HEIGHT)


def _labels(
    names: Sequence[str], points: Sequence[Point], lines: Sequence[Box], right_end: float
) -> list[dict[str, Any]]:
    """Puts each name where it hides no mark and no other name, as near its mark as may be.

    One that fits nowhere is left to the table, which has the same order from top to bottom.
    Greedy, as Christensen, Marks and Shieber (1995) call their simplest method. (Vega's own
    transform for labels needs the canvas of a browser.)

    Returns:
        ``name``; ``x``, ``y`` and ``align`` of the text; ``to_x`` and ``to_y``, where its line
        ends.
    """
    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y in points]
    labels = []
    for name, (x, y) in zip(names, points, strict=True):
        width, height = _text_width(name), 1.15 * FONT_SIZE
        best: tuple[float, Box, dict[str, Any]] | None = None
        for distance, (place, (across, down)) in product(DISTANCES, enumerate(DIRECTIONS)):
            at_x, at_y = x + across * distance, y + down * (distance + height / 2)
            align = "left" if across > 0 else "right" if across < 0 else "center"
            left, top = at_x - width * BEFORE[align], at_y - height / 2
            box = (left, top, left + width, top + height)
            is_inside = 0 <= left <= right_end - width and 0 <= top <= PANEL_HEIGHT - height
            cost = distance / 5 + 0.3 * place + 6 * sum(_overlap(box, line) for line in lines)
            is_best = is_inside and (best is None or cost < best[0])
            if is_best and not any(_overlap(box, other) for other in taken):
                to_x, to_y = (x, y) if distance >= LEADER_FROM else (at_x, at_y)
                label = {"x": at_x, "y": at_y, "align": align, "to_x": to_x, "to_y": to_y}
                best = (cost, box, label | {"name": name})
        if best is not None:
            taken.append(best[1])
            labels.append(best[2])
    return labels


def _table(
    table: Sequence[Sequence[str]],
    widths: Sequence[float],
    intervals: Sequence[Interval],
    colors: Sequence[str],
    width: float,
) -> alt.LayerChart:
    """Names at the left, beside them the intervals drawn, then the cells."""
    gap = (width - DOTS - sum(widths)) / len(widths)
    start = widths[0] + gap
    _, *others = accumulate((gap + each for each in widths[1:]), initial=start + DOTS)
    *_, end = places = [0.0, *others]
    # The last column names the fronts that a row is on.
    inks = [(PALE, PALE), *((INK, color) for color in colors)]
    cells = [
        {"x": place, "y": (i - 0.5) * ROW, "text": text, "color": last if place == end else ink}
        for i, (line, (ink, last)) in enumerate(zip(table, inks, strict=True))
        for place, text in zip(places, line, strict=True)
    ]
    rules = [{"y": i * ROW, "color": FAINT if i else PALE} for i in range(len(intervals))]
    rows = [
        {"low": low, "value": value, "high": high, "y": (i + 0.5) * ROW, "color": color}
        for i, ((low, value, high), color) in enumerate(zip(intervals, colors, strict=True))
    ]
    shown = Range.around([end for low, _, high in intervals for end in (low, high)])
    scale = shown.scale(range=[start, start + DOTS])
    axis = alt.Axis(
        orient="top", tickCount=3, title=None, domain=False, labelColor=PALE, labelFontSize=10
    )
    y = alt.Y("y:Q", scale=None, axis=None)
    texts = _chart(cells).encode(alt.X("x:Q", scale=None), y, text="text:N", color=COLOR)
    dots = _chart(rows).encode(alt.X("value:Q", scale=scale, axis=axis), y, color=COLOR)
    layers = [
        _chart(rules).mark_rule().encode(y, x=alt.value(0), x2=alt.value(width), color=COLOR),
        texts.mark_text(align=alt.expr("datum.x ? 'right' : 'left'")),
        dots.mark_rule(opacity=0.6, strokeWidth=2).encode(x="low:Q", x2="high:Q"),
        dots.mark_point(size=36).encode(SHAPE),
    ]
    return alt.LayerChart(layer=layers, width=width, height=ROW * len(intervals))


def _chart(rows: list[dict[str, Any]]) -> alt.Chart:
    return alt.Chart(alt.InlineData(values=rows))


def _text_width(text: str) -> float:
    """Pixels, nearly."""
    wide = ["W" if east_asian_width(letter) in "WF" else letter for letter in text]
    return FONT.getlength("".join(wide))


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _short(text: str) -> str:
    return text if len(text) <= MOST_LETTERS else text[: MOST_LETTERS - 1] + "…"

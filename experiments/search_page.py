"""The page of a search: its trials as a table, and what they tell of the parameters, as charts.

One file that asks the network for nothing, as the report of the pipeline.
"""

import math
from collections.abc import Iterable
from typing import Any

import altair as alt
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from experiments.chart import CONFIG, FRONT, INK, REST
from experiments.compare import METRICS
from experiments.search import Choice, Range, Search
from experiments.study import COLUMNS, Study
from stages.files import write_text
from stages.report.page import figure, policy, setting, vega

Row = dict[str, Any]
Chart = alt.TopLevelMixin

PAGE = "index.html"
WIDTH, HEIGHT, SLICE = 820, 260, 230  # pixels
SLICES = 3  # side by side
TOOLTIP = [alt.Tooltip("number:N"), alt.Tooltip("value:Q", format=".4f")]
WHOLE = alt.Axis(tickMinStep=1, grid=False)
SCRIPT = """
for (const place of document.querySelectorAll("[data-chart]")) {
  const spec = JSON.parse(document.getElementById("charts").textContent)[place.dataset.chart];
  vegaEmbed(place, spec, { renderer: "svg", actions: false });
}
"""
TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{{ policy }}">
<title>Search {{ name }}</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 60rem; margin: 2rem auto; }
table { border-collapse: collapse; display: block; overflow-x: auto; font-size: 13px; }
th, td { text-align: right; padding: .2rem .7rem; border-bottom: 1px solid #e4e4e4; }
th:nth-child(2), td:nth-child(2) { text-align: left; }
</style>
</head>
<body>
<h1>Search {{ name }}</h1>
<p>{{ summary }}</p>
{% for title, word, key in charts %}
<h2>{{ title }}</h2>
<p>{{ word }}</p>
<div data-chart="{{ key }}"></div>
{% endfor %}
<h2>Trials</h2>
<table>
<tr>{% for column in columns %}<th>{{ column }}</th>{% endfor %}</tr>
{% for row in rows %}
<tr>{% for column in columns %}<td>{{ row[column] }}</td>{% endfor %}</tr>
{% endfor %}
</table>
<script type="application/json" id="charts">{{ specs|tojson }}</script>
{% for script in scripts %}<script>{{ script }}</script>{% endfor %}
</body>
</html>
"""


def write(study: Study, search: Search, metric: str) -> None:
    """Writes ``index.html`` to the folder of the study, at least one trial of which is complete."""
    rows = study.rows()
    done = [row for row in rows if row["value"] is not None]
    label, best = METRICS[metric], max(done, key=lambda row: row["value"])
    pruned = sum(row["state"] == "pruned" for row in rows)
    charts: dict[str, tuple[str, str, Chart | None]] = {
        "history": ("Progress", "The line is the best so far.", history(done, label)),
        "curves": (
            "Epochs",
            "As train measures them, which is not yet at the threshold found; a dot is where a "
            "trial was ended early.",
            curves(study.epochs(), label),
        ),
        "importances": (
            "Importance",
            "How much of the differences is each parameter's (PED-ANOVA); of few trials, a hint.",
            importances(study.importances()),
        ),
        "slices": ("One by one", "", slices(done, search, label)),
        "parallel": ("All together", "", parallel(done, search, label)),
    }
    specs = {key: chart.to_dict() for key, (*_, chart) in charts.items() if chart is not None}
    scripts = [vega(), SCRIPT]
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    page = environment.from_string(TEMPLATE).render(
        name=search.name,
        summary=f"Best of {len(rows)} trials: {best['experiment']}, validation {label} "
        f"{figure(best['value'])}. {pruned} were ended early.",
        charts=[(*charts[key][:2], key) for key in specs],
        columns=[*COLUMNS, *search.space],
        rows=[_cells(row, search) for row in _ranked(rows)],
        specs=specs,
        scripts=[Markup(script) for script in scripts],
        policy=policy(scripts),
    )
    write_text(study.folder / PAGE, page)


def _ranked(rows: Iterable[Row]) -> list[Row]:
    """The best first; what has no figure last."""
    return sorted(rows, key=lambda row: (row["value"] is None, -(row["value"] or 0)))


def _cells(row: Row, search: Search) -> dict[str, str]:
    cells = {column: "" if row[column] is None else str(row[column]) for column in COLUMNS}
    drawn = {key: _text(row[key]) if key in row else "" for key in search.space}
    return cells | {"value": figure(row["value"])} | drawn


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else setting(value)


def history(done: list[Row], label: str) -> Chart:
    """Each trial's figure, and the best one so far."""
    best = -math.inf
    rows = []
    for row in done:
        best = max(best, row["value"])
        rows.append({"number": row["number"], "value": row["value"], "best": best})
    base = _chart(rows).encode(alt.X("number:Q", title="trial", axis=WHOLE))
    return _sized(
        base.mark_line(interpolate="step-after", color=FRONT).encode(y="best:Q")
        + base.mark_point(color=REST).encode(_value(label), tooltip=TOOLTIP)
    )


def curves(epochs: list[Row], label: str) -> Chart | None:
    """A line a trial: ``number``, ``state``, ``epoch``, ``value``."""
    if not epochs:
        return None
    last = {row["number"]: row for row in epochs if row["state"] == "pruned"}
    x = alt.X("epoch:Q", axis=WHOLE)
    lines = _chart(epochs).encode(x, _value(label), detail="number:N", tooltip=["number:N"])
    dots = _chart([*last.values()]).encode(x, _value(label), tooltip=["number:N"])
    return _sized(lines.mark_line(color=REST, opacity=0.5) + dots.mark_point(color=FRONT, size=40))


def importances(shares: dict[str, float]) -> Chart | None:
    if not shares:
        return None
    rows = [{"key": key, "share": share} for key, share in shares.items()]
    chart: Chart = (
        _chart(rows)
        .mark_bar(color=REST)
        .encode(
            alt.X("share:Q", axis=alt.Axis(format="%"), title=None),
            alt.Y("key:N", sort=None, title=None),
        )
        .properties(width=WIDTH - 200, config=CONFIG)
    )
    return chart


def slices(done: list[Row], search: Search, label: str) -> Chart:
    """The figure by each parameter alone."""
    charts = []
    for key, drawn in search.space.items():
        rows = [
            {"at": _text(row[key]) if isinstance(drawn, Choice) else row[key], **_name(row)}
            for row in done
            if key in row
        ]
        kind = "N" if isinstance(drawn, Choice) else "Q"
        if isinstance(drawn, Choice):
            axis = alt.Axis(labelAngle=-25)
            x = alt.X("at:N", title=key, sort=[_text(each) for each in drawn.shown], axis=axis)
        else:
            scale = alt.Scale(
                type="log" if drawn.log else "linear", domain=[drawn.low, drawn.high], nice=False
            )
            x = alt.X("at:Q", title=key, scale=scale, axis=alt.Axis(tickCount=4))
        marks = _chart(rows).mark_point(color=REST)
        tooltip = [*TOOLTIP, alt.Tooltip(f"at:{kind}")]
        charts.append(
            marks.encode(x, _value(label), tooltip=tooltip).properties(width=SLICE, height=SLICE)
        )
    return alt.concat(*charts, columns=SLICES, config=CONFIG)


def parallel(done: list[Row], search: Search, label: str) -> Chart:
    """A line a trial through its values, each axis from low (below) to high; the best on top."""
    rows, ends = [], []
    for row in sorted(done, key=lambda row: row["value"]):
        for key, drawn in search.space.items():
            if key in row:
                at = _place(drawn, row[key])
                rows.append({"key": key, "at": at, "is": _text(row[key]), **_name(row)})
    for key, drawn in search.space.items():
        values = drawn.shown
        ends += [{"key": key, "at": _place(drawn, each), "is": _text(each)} for each in values]
    axis = alt.Axis(labelAngle=-25, title=None, grid=True)
    x = alt.X("key:N", sort=list(search.space), axis=axis, scale=alt.Scale(type="point"))
    y = alt.Y("at:Q", axis=None)
    color = alt.Color(
        "value:Q",
        title=label,
        scale=alt.Scale(scheme="viridis"),
        legend=alt.Legend(type="gradient"),
    )
    tooltip = [*TOOLTIP, alt.Tooltip("key:N"), alt.Tooltip("is:N")]
    lines = _chart(rows).encode(x, y, color, detail="number:N", tooltip=tooltip)
    texts = _chart(ends).encode(x, y, text="is:N")
    return _sized(
        lines.mark_line(opacity=0.8)
        + lines.mark_point(size=25)
        + texts.mark_text(align="left", dx=5, color=INK, stroke="white", strokeWidth=3)
        + texts.mark_text(align="left", dx=5, color=INK),
        1.4 * HEIGHT,
    )


def _place(drawn: Range | Choice, value: Any) -> float:
    """0 for the low end of a range or the first choice, 1 for the other end."""
    if isinstance(drawn, Choice):
        texts = [_text(each) for each in drawn.choices]
        return texts.index(_text(value)) / (len(texts) - 1)
    low, high, at = (
        math.log(each) if drawn.log else each for each in (drawn.low, drawn.high, value)
    )
    return (at - low) / (high - low)


def _name(row: Row) -> Row:
    return {"number": row["number"], "value": row["value"]}


def _value(label: str) -> alt.Y:
    return alt.Y("value:Q", title=label, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=5))


def _sized(chart: alt.LayerChart, height: float = HEIGHT) -> Chart:
    return chart.properties(width=WIDTH, height=height, config=CONFIG)


def _chart(rows: list[Row]) -> alt.Chart:
    return alt.Chart(alt.InlineData(values=rows))

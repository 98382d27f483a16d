"""Charts of the page, as Vega-Lite says them: drawn by the browser, in the colours of its theme.

Colours are not said here but by the names of styles, which ``page.js`` fills in for light and dark.
Where colour tells series apart, a dash or a shape does as well.
"""

from collections.abc import Sequence
from typing import Any

import altair as alt
import polars as pl

Spec = dict[str, Any]

ROW = 30  # characters of a legend

FROM_0_TO_1, AXIS_OF_SHARES = alt.Scale(domain=[0, 1]), alt.Axis(tickCount=5, format=".1f")


def curves(table: pl.DataFrame, thresholds: pl.DataFrame) -> dict[str, Spec]:
    """Precision by recall and F1 by threshold of every label, one of them brought out.

    Which one is the parameter ``label`` of both.

    Args:
        table: of ``by_label.curves``.
        thresholds: ``label``, ``threshold``, ``precision``, ``recall``, ``f1``: where it decides.
    """
    first = thresholds["label"][0] if len(thresholds) else ""
    label = alt.param(name="label", value=first)
    is_chosen = "datum.label === label"
    # As CSV the points take a third of the room that rows of JSON take.
    points = alt.InlineData(_csv(table), format=alt.CsvDataFormat(type="csv"))
    decided = alt.InlineData(_csv(thresholds), format=alt.CsvDataFormat(type="csv"))

    def chart(x: alt.X, y: alt.Y, order: str, description: str) -> Spec:
        lines = alt.Chart(points).encode(x, y, alt.Detail("label:N"), alt.Order(f"{order}:Q"))
        place = alt.Chart(decided).transform_filter(is_chosen).encode(x, y)
        tooltip = [
            "label:N",
            *(alt.Tooltip(f"{name}:Q", format=".3f") for name in table.columns if name != "label"),
        ]
        return _spec(
            alt.layer(
                lines.mark_line(style="muted"),
                lines.mark_line(style="accent").transform_filter(is_chosen),
                place.mark_point(style="spot").encode(tooltip=tooltip),
            ).add_params(label),
            description,
        )

    return {
        "precision_recall": chart(
            _share_x("recall:Q", "Recall: share of its photos that are found"),
            _share_y("precision:Q", "Precision: share of finds that are right"),
            "recall",
            "Precision by recall, a line a label; the chosen label in colour, a dot at its "
            "threshold. The table of labels has the figures at the thresholds.",
        ),
        "f1_by_threshold": chart(
            _share_x("threshold:Q", "Threshold of the probability"),
            _share_y("f1:Q", "F1"),
            "threshold",
            "F1 by threshold, a line a label; the chosen label in colour, a dot at its threshold. "
            "The table of labels has the figures at the thresholds.",
        ),
    }


def headline(table: pl.DataFrame) -> Spec:
    """Metrics with intervals: ``metric``, ``run``, ``value``, ``low``, ``high``."""
    runs = table["run"].unique(maintain_order=True).to_list()
    series = _series(runs)
    by_run = {
        "y": alt.Y("metric:N", sort=None, title=None),
        "yOffset": alt.YOffset("run:N", sort=runs),
        "color": alt.Color("run:N", **series),
    }
    base = alt.Chart(table)
    x = alt.X("value:Q", scale=alt.Scale(zero=False, padding=12, nice=True), title=None)
    has_interval = alt.expr.isValid(alt.datum.low)
    interval = (
        base.transform_filter(has_interval)
        .mark_rule(style="interval")
        .encode(x=alt.X("low:Q"), x2="high:Q", **by_run)
    )
    value = base.mark_point(style="filled").encode(
        x=x,
        shape=alt.Shape("run:N", **series),
        tooltip=["metric:N", "run:N", *_rounded("value", "low", "high")],
        **by_run,
    )
    height = 34 * max(table["metric"].n_unique(), 1)
    return _spec(
        interval + value, "Metrics with their 95 % intervals; the table above has them.", height
    )


def of_labels(table: pl.DataFrame) -> Spec:
    """Precision, recall and F1 of each label: ``label``, ``metric``, ``value``."""
    base = alt.Chart(table).encode(y=alt.Y("label:N", sort=None, title=None))
    x = _share_x("value:Q", None)
    series = _series(["Precision", "Recall", "F1"])
    span = base.mark_rule(style="muted").encode(x=alt.X("min(value):Q"), x2="max(value):Q")
    value = base.mark_point(style="filled").encode(
        x=x,
        color=alt.Color("metric:N", **series),
        shape=alt.Shape("metric:N", **series),
        tooltip=["label:N", "metric:N", *_rounded("value")],
    )
    height = 20 * max(table["label"].n_unique(), 1)
    return _spec(
        span + value, "Precision, recall and F1 of each label; the table above has them.", height
    )


def reliability(table: pl.DataFrame) -> Spec:
    """How often a label was true, by the probability that it was given.

    Args:
        table: ``calibration`` (before or after), ``probability`` and ``frequency`` (the means of a
            bin), ``decisions`` (in it).
    """
    series = _series(table["calibration"].unique(maintain_order=True).to_list(), "stroke")
    x = _share_x("probability:Q", "Probability that was said")
    y = _share_y("frequency:Q", "Share that came true")
    measured = (
        alt.Chart(table)
        .mark_line(style="series", point=True)
        .encode(
            x,
            y,
            color=alt.Color("calibration:N", **series),
            strokeDash=alt.StrokeDash("calibration:N", **series),
            tooltip=[
                "calibration:N",
                *_rounded("probability", "frequency"),
                alt.Tooltip("decisions:Q", format=","),
            ],
        )
    )
    corners = pl.DataFrame({"probability": [0.0, 1.0], "frequency": [0.0, 1.0]})
    ideal = alt.Chart(corners).mark_line(style="mark").encode(x, y)
    return _spec(
        ideal + measured,
        "Reliability: share of labels that were true by the probability that was said, before and "
        "after temperature scaling; on the diagonal the two agree. The table has the figures.",
    )


def confusion(table: pl.DataFrame, names: Sequence[str]) -> Spec:
    """How often a photo's label brings another with it, wrongly.

    Args:
        table: ``label``, ``other``, ``rate``, ``wrong``, ``without``.
        names: labels in the order of rows and columns.
    """
    side = max(14, min(30, 560 // max(len(names), 1)))
    cells = (
        alt.Chart(table)
        .mark_rect()
        .encode(
            x=alt.X(
                "other:N",
                sort=list(names),
                title="… and this label was found, wrongly",
                axis=alt.Axis(orient="top", labelAngle=-90),
            ),
            y=alt.Y("label:N", sort=list(names), title="The photo carries …"),
            color=alt.Color(
                "rate:Q",
                title="of photos",
                scale=alt.Scale(interpolate="rgb", domainMin=0),
                legend=alt.Legend(format="%"),
            ),
            tooltip=[
                "label:N",
                "other:N",
                alt.Tooltip("wrong:Q", format=","),
                alt.Tooltip("without:Q", format=","),
                alt.Tooltip("rate:Q", format=".1%"),
            ],
        )
    )
    return _spec(
        cells,
        "For each label that photos carry, how often another one was found on them wrongly. The "
        "table has the pairs that are confused most.",
        side * len(names),
    )


def epochs(table: pl.DataFrame, best: int) -> Spec:
    """Lines over epochs: ``epoch``, ``series``, ``value``; a rule at the ``best`` epoch."""
    names = table["series"].unique(maintain_order=True).to_list()
    series = _series(names, "stroke")
    last = max(table["epoch"].to_list())
    x = alt.X(
        "epoch:Q",
        title="Epoch",
        scale=alt.Scale(domain=[min(1, last - 1), last], nice=False),
        axis=alt.Axis(tickMinStep=1, format="d"),
    )
    lines = (
        alt.Chart(table)
        .mark_line(style="series", point=True)
        .encode(
            x,
            alt.Y("value:Q", title=None, scale=alt.Scale(zero=False)),
            color=alt.Color("series:N", **series),
            strokeDash=alt.StrokeDash("series:N", **series),
            tooltip=["epoch:Q", "series:N", alt.Tooltip("value:Q", format=".4~g")],
        )
    )
    rule = alt.Chart(pl.DataFrame({"epoch": [best]})).mark_rule(style="mark").encode(x)
    description = f"{', '.join(names)}, by epoch; the best epoch was {best}."
    return _spec(rule + lines, description, 200)


def _share_x(field: str, title: str | None) -> alt.X:
    return alt.X(field, title=title, scale=FROM_0_TO_1, axis=AXIS_OF_SHARES)


def _share_y(field: str, title: str | None) -> alt.Y:
    return alt.Y(field, title=title, scale=FROM_0_TO_1, axis=AXIS_OF_SHARES)


def _series(names: Sequence[str], symbol: str | None = None) -> dict[str, Any]:
    """Options of a colour, shape or dash by which series are told apart; they share a legend.

    Args:
        names: of the series, in the order of the legend.
        symbol: the shape of the legend's symbols; None: Vega's.
    """
    scale = alt.Scale(domain=list(names))
    if len(names) == 1:
        return {"scale": scale, "legend": None}
    # Two by two where they would not stand in one row on a phone.
    columns = 2 if sum(map(len, names)) > ROW else alt.Undefined
    legend = alt.Legend(columns=columns, symbolType=symbol or alt.Undefined)
    return {"scale": scale, "title": None, "legend": legend}


def _rounded(*names: str) -> list[alt.Tooltip]:
    return [alt.Tooltip(f"{name}:Q", format=".3f") for name in names]


def _csv(table: pl.DataFrame) -> str:
    return table.write_csv(float_precision=4)


def _spec(
    chart: alt.Chart | alt.LayerChart | alt.FacetChart, description: str, height: int = 280
) -> Spec:
    """The chart as wide as its place.

    Args:
        description: what it shows, for people who do not see it.
        height: in pixels.
    """
    spec = chart.properties(width="container", height=height, description=description).to_dict()
    spec.pop("config", None)  # the page's theme has a say in all of it
    return spec

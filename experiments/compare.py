"""One table over experiments: how good, how long, how large; and which of them none surpasses.

``python -m experiments.compare [experiment …] [--group split.fold] [--out comparison]``
"""

import argparse
import csv
import json
import re
import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments import chart
from experiments.dvc_project import WORKSPACE, Experiment, ProjectError, experiments
from stages import for_people, printable

# Where the figures stand, and the output that says which rows they were measured on.
QUALITY, COST, ROWS = "metrics/threshold.json", "metrics/train.json", "data/folds.parquet"
# ``found`` stands there too, but its thresholds were chosen on the very rows it measures.
HONEST = "cross_fitted"
METRICS = {
    "micro_f1": "micro-F1",
    "macro_f1": "macro-F1",
    "mean_average_precision": "mAP",
    "subset_accuracy": "subset accuracy",
}
COSTS = {
    "hours": "hours",
    "photos_per_second": "photos/s",
    "mb": "MB",
    "f1_per_hour": "F1/hour",
    "f1_per_100_mb": "F1/MB·100",
    "peak_memory_mb": "peak MB",
}
FRONTS = {"mb": "MB", "hours": "time"}
SHOWN_PARAMS = 4  # more of them are only in the CSV
NAMED_PARTS = 5  # of the name of a group
OUT = Path("comparison")


@dataclass(frozen=True)
class Figure:
    """A metric with its 95 % interval; of several runs, mean and mean ∓ standard deviation.

    Where a single run has no interval, both ends are None.
    """

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Row:
    """A row of the table: one run, or several that differ only in what they are grouped by.

    Attributes:
        members: names of the runs.
        figures: by key of ``METRICS``.
        costs: by key of ``COSTS``; None where the run does not say.
        measured_on: hashes of ``ROWS``.
    """

    name: str
    members: tuple[str, ...]
    params: dict[str, Any]
    figures: dict[str, Figure]
    costs: dict[str, float | None]
    hardware: frozenset[str]
    measured_on: frozenset[str]


def compare(
    root: Path, names: Sequence[str] = (), out: Path = OUT, group: Sequence[str] = ()
) -> str:
    """Compares experiments of the DVC project in ``root``; returns the table as Markdown.

    Writes it to ``out`` as ``comparison.csv``, ``.md`` and, where there is a result, ``.png``.

    Args:
        names: experiments, branches, tags, commits or ``workspace``; none: the experiments of the
            current commit, and the workspace.
        group: keys of parameters; runs that differ in nothing else become one row.

    Raises:
        ProjectError: ``root`` is in no DVC project, or that has no commit; or a key of ``group``
            is no parameter.
    """
    shown = experiments(root, names)
    notes = []
    if not names and (twin := _twin_of_workspace(shown)):
        shown = [each for each in shown if each.name != WORKSPACE]
        notes.append(f"The workspace is at {twin}, so it has no row of its own.")
    for key in group:
        if not any(key in each.params for each in shown):
            raise ProjectError(f"{key} is no parameter of these experiments, nothing to group by")
    results = {each.name: row_of(each) for each in shown}
    problems = {name: row for name, row in results.items() if isinstance(row, str)}
    rows = grouped([row for row in results.values() if isinstance(row, Row)], group)
    rows.sort(key=lambda row: -row.figures["micro_f1"].value)

    out.mkdir(parents=True, exist_ok=True)
    fronts = {key: front([row.costs[key] for row in rows], _f1(rows)) for key in FRONTS}
    varied = _varied(rows, group)
    header, cells = texts(rows, fronts, varied if len(varied) <= SHOWN_PARAMS else [])
    notes = [*_captions(rows, group), *notes]
    markdown = to_markdown(header, cells, notes, problems)
    (out / "comparison.md").write_text(markdown, "utf-8")
    _write_csv(out / "comparison.csv", rows, fronts, varied, problems)
    path = out / "comparison.png"
    path.unlink(missing_ok=True)
    if rows:
        panels = [
            chart.Panel(label, [row.costs[key] for row in rows], fronts[key])
            for key, label in (("mb", "MB saved"), ("hours", "hours of training"))
        ]
        f1 = [row.figures["micro_f1"] for row in rows]
        intervals = [_drawn(each) for each in f1]
        quality = "validation micro-F1"
        chart.save(chart.picture(quality, intervals, panels, header, cells, notes), path)
    return markdown


def row_of(experiment: Experiment) -> Row | str:
    """The row of one experiment; or, where it has none, the reason."""
    if experiment.problem:
        return experiment.problem
    for path in (QUALITY, COST):
        if path not in experiment.metrics:
            return experiment.outdated.get(path, f"{path} is missing")
    quality, cost = (experiment.metrics[path] for path in (QUALITY, COST))
    try:
        figures = {key: _read_figure(quality[HONEST][key]) for key in METRICS}
        hours, mb = cost["seconds"] / 3600, cost["mb"]
    except (KeyError, TypeError) as error:
        return f"{QUALITY} or {COST} is not of the kind this table is made from: {error!r}"
    f1 = figures["micro_f1"].value
    costs = {
        "hours": hours,
        "photos_per_second": cost.get("photos_per_second"),
        "mb": mb,
        "f1_per_hour": f1 / hours if hours else None,
        "f1_per_100_mb": 100 * f1 / mb,
        "peak_memory_mb": cost.get("peak_memory_mb"),
    }
    return Row(
        experiment.name,
        (experiment.name,),
        experiment.params,
        figures,
        costs,
        frozenset({cost["hardware"]} if "hardware" in cost else ()),
        frozenset({experiment.outputs[ROWS]} if ROWS in experiment.outputs else ()),
    )


def _read_figure(figure: dict[str, Any]) -> Figure:
    return Figure(*(figure[name] for name in ("value", "low", "high")))


def grouped(rows: Sequence[Row], keys: Sequence[str]) -> list[Row]:
    """Brings rows together whose parameters differ in nothing but ``keys``."""
    return [merged(part) for part in alike(rows, keys)] if keys else list(rows)


def alike(items: Iterable[Any], keys: Sequence[str]) -> list[list[Any]]:
    """Parts ``items`` by their ``params`` without ``keys``, in the order of their first ones."""
    parts: dict[str, list[Any]] = {}
    for item in items:
        rest = {key: value for key, value in item.params.items() if key not in keys}
        parts.setdefault(json.dumps(rest, sort_keys=True, default=str), []).append(item)
    return list(parts.values())


def merged(rows: Sequence[Row]) -> Row:
    """One row of several: mean and sample standard deviation; the first one's parameters."""
    if len(rows) == 1:
        return rows[0]
    figures = {}
    for key in METRICS:
        values = [row.figures[key].value for row in rows]
        mean, deviation = statistics.fmean(values), statistics.stdev(values)
        figures[key] = Figure(mean, mean - deviation, mean + deviation)
    costs: dict[str, float | None] = {}
    for key in COSTS:
        known = [cost for row in rows if (cost := row.costs[key]) is not None]
        costs[key] = statistics.fmean(known) if len(known) == len(rows) else None
    members = tuple(name for row in rows for name in row.members)
    return Row(
        group_name(members),
        members,
        rows[0].params,
        figures,
        costs,
        frozenset().union(*(row.hardware for row in rows)),
        frozenset().union(*(row.measured_on for row in rows)),
    )


def group_name(names: Sequence[str]) -> str:
    """What the names have in common, and in braces what they have not.

    >>> group_name(["s4-fold=0-sgd", "s4-fold=1-sgd"])
    's4-fold={0,1}-sgd'
    """
    if len(names) == 1:
        return names[0]
    words = [re.split("([-=])", name) for name in names]
    before: list[str] = []
    after: list[str] = []
    for common, end in ((before, 0), (after, -1)):
        while len({each[end] for each in words}) == 1 < min(map(len, words)):
            common.append({each.pop(end) for each in words}.pop())
    parts = ["".join(each) for each in words]
    if len(parts) > NAMED_PARTS:
        parts[1:-1] = ["…"]
    return f"{''.join(before)}{{{','.join(parts)}}}{''.join(reversed(after))}"


def front(costs: Sequence[float | None], values: Sequence[float]) -> list[bool]:
    """Says of each point whether it is on the Pareto front: no other one costs as little or less
    and is worth as much or more, unless it is equal in both.

    Args:
        costs: None: not known, so not on the front.
        values: of the same points, the more the better.
    """
    points = list(zip(costs, values, strict=True))
    return [
        cost is not None
        and not any(
            other is not None
            and other <= cost
            and better >= value
            and (other, better) != (cost, value)
            for other, better in points
        )
        for cost, value in points
    ]


def texts(
    rows: Sequence[Row], fronts: dict[str, list[bool]], params: Sequence[str]
) -> tuple[list[str], list[list[str]]]:
    """Header and cells of the table as people read it."""
    several = any(len(row.members) > 1 for row in rows)
    header = ["experiment", *(["n"] if several else []), *params, *METRICS.values()]
    header += [*COSTS.values(), "Pareto"]
    cells = []
    for i, row in enumerate(rows):
        on = [label for key, label in FRONTS.items() if fronts[key][i]]
        cells.append(
            [
                row.name,
                *([str(len(row.members))] if several else []),
                *(_plain(row.params.get(key)) for key in params),
                *(_figure(row.figures[key], len(row.members)) for key in METRICS),
                *(_number(row.costs[key]) for key in COSTS),
                ", ".join(on),
            ]
        )
    return header, cells


def to_markdown(
    header: Sequence[str],
    cells: Sequence[Sequence[str]],
    notes: Sequence[str],
    problems: dict[str, str],
) -> str:
    """The table, its notes, and below them what has no result."""
    parts = []
    if cells:
        escaped = [[cell.replace("|", "\\|") for cell in row] for row in [header, *cells]]
        widths = [max(3, *map(len, column)) for column in zip(*escaped, strict=True)]
        lines = [
            [cell.rjust(width) if i else cell.ljust(width) for i, (cell, width) in enumerate(pairs)]
            for pairs in (list(zip(row, widths, strict=True)) for row in escaped)
        ]
        rule = [
            "-" * width if i == 0 else "-" * (width - 1) + ":" for i, width in enumerate(widths)
        ]
        parts += ["\n".join(f"| {' | '.join(line)} |" for line in [lines[0], rule, *lines[1:]])]
        parts += notes
    if problems:
        listed = [f"- {name}: {' '.join(reason.split())}" for name, reason in problems.items()]
        parts.append("\n".join(["Without a result:", "", *listed]))
    return "\n\n".join(parts or ["There is no experiment."]) + "\n"


def _write_csv(
    path: Path,
    rows: Sequence[Row],
    fronts: dict[str, list[bool]],
    params: Sequence[str],
    problems: dict[str, str],
) -> None:
    """Full precision, a column a figure; what has no result is a line with its ``problem``."""
    lines: list[dict[str, Any]] = []
    for i, row in enumerate(rows):
        line = {"experiment": row.name, "n": len(row.members), "members": " ".join(row.members)}
        for key, figure in row.figures.items():
            line |= {key: figure.value, f"{key}_low": figure.low, f"{key}_high": figure.high}
        line["low_high"] = "95 % interval" if len(row.members) == 1 else "standard deviation"
        line |= row.costs | {"hardware": "; ".join(sorted(row.hardware))}
        line |= {f"pareto_{key}": fronts[key][i] for key in FRONTS}
        lines.append(line | {key: _plain(row.params.get(key)) for key in params})
    lines += [{"experiment": name, "problem": for_people(why)} for name, why in problems.items()]
    with path.open("w", encoding="utf-8", newline="") as file:
        names = list(dict.fromkeys(["experiment", *(key for line in lines for key in line)]))
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


def _captions(rows: Sequence[Row], group: Sequence[str]) -> list[str]:
    """What a reader has to know of the figures, and what makes them incomparable."""
    several = any(len(row.members) > 1 for row in rows)
    notes = [
        "Measured on the validation rows, each decided by thresholds found on others "
        f"({HONEST} in {QUALITY}); mAP needs none. In brackets the 95 % interval."
        + (f" Where n > 1: mean ± standard deviation over {' and '.join(group)}." * several),
        "Hours are of training. Both quotients are of micro-F1. Pareto: no other row has as high a "
        "micro-F1 in as few MB, or in as little time.",
    ]
    hardware = sorted(frozenset().union(*(row.hardware for row in rows)))
    if len(hardware) > 1:
        machines = "; ".join(hardware)
        notes.append(f"Time and memory are of different machines, not to be compared: {machines}.")
    elif hardware:
        notes.append(f"Time and memory: {hardware[0]}.")
    if len({row.measured_on for row in rows}) > 1:
        notes.append("Not all rows are measured on the same photos: their splits differ.")
    return notes


def _twin_of_workspace(shown: Sequence[Experiment]) -> str | None:
    """The experiment whose parameters and figures lie in the workspace, if there is one."""
    (workspace,) = (each for each in shown if each.name == WORKSPACE)
    for each in shown:
        same = (each.params, each.metrics) == (workspace.params, workspace.metrics)
        if same and workspace.metrics and each is not workspace:
            return each.name
    return None


def _varied(rows: Sequence[Row], group: Sequence[str]) -> list[str]:
    """The parameters that are not the same in all rows."""
    keys = dict.fromkeys(key for row in rows for key in row.params if key not in group)
    return [key for key in keys if len({_plain(row.params.get(key)) for row in rows}) > 1]


def _f1(rows: Sequence[Row]) -> list[float]:
    return [row.figures["micro_f1"].value for row in rows]


def _drawn(figure: Figure) -> tuple[float, float, float]:
    """Low, value and high; a mere point where there is no interval."""
    low, value, high = figure.low, figure.value, figure.high
    return (value, value, value) if low is None or high is None else (low, value, high)


def _figure(figure: Figure, runs: int) -> str:
    low, high = figure.low, figure.high
    if low is None or high is None:
        return f"{figure.value:.3f} –"
    if runs > 1:
        return f"{figure.value:.3f} ± {high - figure.value:.3f}"
    return f"{figure.value:.3f} [{low:.3f}, {high:.3f}]"


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _plain(value: Any) -> str:
    """A parameter as ``params.yaml`` would have it."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.compare",
        description="One table over experiments, as CSV, Markdown and picture.",
    )
    parser.add_argument(
        "names",
        nargs="*",
        metavar="experiment",
        help="also a branch, tag, commit or workspace; "
        "default: the experiments of the current commit, and the workspace",
    )
    parser.add_argument(
        "--group",
        action="append",
        default=[],
        metavar="KEY",
        help="one row, mean ± standard deviation, of what differs only in this parameter: "
        "split.fold, train.seed; may be repeated",
    )
    parser.add_argument("--out", type=Path, default=OUT, metavar="FOLDER", help=f"default: {OUT}")
    options = parser.parse_args(arguments)
    try:
        print(printable(compare(Path.cwd(), options.names, options.out, options.group)))
    except ProjectError as error:
        sys.exit(printable(f"compare: {error}"))
    print(f"Written to {options.out}/")


if __name__ == "__main__":
    main()

"""The table over real experiments of a small project; the front and the picture on made figures."""

import csv
import shutil
import statistics
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from experiments import chart
from experiments.compare import (
    COST,
    HONEST,
    METRICS,
    QUALITY,
    ROWS,
    compare,
    front,
    grouped,
    main,
    row_of,
)
from experiments.dvc_project import Experiment, ProjectError, experiments, fetch
from tests.toy import Toy


def made(name: str, params: dict | None = None, f1: float = 0.8, **cost: object) -> Experiment:
    figure = {"value": f1, "low": f1 - 0.01, "high": f1 + 0.02}
    quality = {HONEST: dict.fromkeys(METRICS, figure)}
    cost = {"hardware": "CPU, fp32", "seconds": 3600.0, "mb": 10.0} | cost
    metrics = {QUALITY: quality, COST: cost}
    return Experiment(name, f"commit of {name}", params or {}, metrics, {}, {ROWS: "rows"})


def lines(out: Path = Path("comparison")) -> dict[str, dict[str, str]]:
    with (out / "comparison.csv").open() as file:
        return {line["experiment"]: line for line in csv.DictReader(file)}


def table(markdown: str) -> list[list[str]]:
    """The cells of the rows below the rule."""
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows[2:]]


def test_every_experiment_is_in_the_table_or_below_it(experimented: Toy) -> None:
    markdown = compare(Path.cwd())
    assert markdown == Path("comparison/comparison.md").read_text()
    good = "0.840 [0.820, 0.850]"
    first, *others = table(markdown)
    assert first == [
        "good-fold=1", "1", "good", *[good] * 4, "0.5", "50", "20", "1.68", "4.2", "300",
        "MB, time",
    ]  # fmt: skip
    assert [(row[0], row[3], row[-1]) for row in others] == [
        ("workspace", "0.800 [0.780, 0.810]", ""),
        ("noise", "0.300 [0.280, 0.310]", "MB"),
    ]
    assert "- broken: train: there is no backbone broken (failed to reproduce 'train'" in markdown
    assert "Not all rows are measured on the same photos" in markdown
    assert "different machines" not in markdown
    written = lines()
    assert list(written) == ["good-fold=1", "workspace", "noise", "broken"]
    assert float(written["noise"]["micro_f1_low"]) == pytest.approx(0.28)
    assert float(written["noise"]["f1_per_100_mb"]) == pytest.approx(15)
    assert written["noise"]["train.backbone"] == "noise"
    assert "no backbone broken" in written["broken"]["problem"]
    assert written["broken"]["micro_f1"] == ""  # not those of the commit that it began at
    with Image.open("comparison/comparison.png") as picture:
        assert picture.width > chart.SCALE * chart.LEAST_WIDTH
        assert picture.height > chart.SCALE * (chart.PANEL_HEIGHT + 3 * chart.ROW)


def test_folds_in_one_row(experimented: Toy) -> None:
    markdown = compare(Path.cwd(), ["HEAD", "good-fold=1", "nowhere"], group=["split.fold"])
    (row,) = table(markdown)
    deviation = statistics.stdev([0.80, 0.84])
    assert row[:3] == ["{HEAD,good-fold=1}", "2", f"0.820 ± {deviation:.3f}"]
    assert "mean ± standard deviation over split.fold" in markdown
    assert "- nowhere: there is no experiment, branch, tag or commit of this name" in markdown
    line = lines()["{HEAD,good-fold=1}"]
    assert (line["n"], line["members"], line["low_high"]) == (
        "2", "HEAD good-fold=1", "standard deviation",
    )  # fmt: skip
    assert float(line["micro_f1_high"]) == pytest.approx(0.82 + deviation)


def test_figures_of_other_parameters_are_not_taken(experimented: Toy) -> None:
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace('"seed": 1', '"seed": 2'))
    markdown = compare(Path.cwd())
    assert "- workspace: train did not run since train.seed changed" in markdown
    experimented.dvc("repro", "--quiet", "train")
    markdown = compare(Path.cwd())
    assert "threshold did not run since data/validation.parquet changed" in markdown
    experimented.dvc("repro", "--quiet")
    assert "workspace" in [row[0] for row in table(compare(Path.cwd()))]


def test_a_workspace_that_is_an_experiment_has_no_row(experimented: Toy) -> None:
    experimented.dvc("exp", "apply", "--quiet", "noise")
    markdown = compare(Path.cwd())
    assert [row[0] for row in table(markdown)] == ["good-fold=1", "noise"]
    assert "The workspace is at noise" in markdown
    assert "workspace" in [row[0] for row in table(compare(Path.cwd(), ["workspace", "noise"]))]


def test_without_any_result_there_is_no_picture(experimented: Toy) -> None:
    compare(Path.cwd())
    markdown = compare(Path.cwd(), ["broken"])
    assert markdown.startswith("Without a result:\n\n- broken: ")
    assert not Path("comparison/comparison.png").exists()


def test_what_cannot_be_compared(experimented: Toy, tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match=r"train\.sed is no parameter"):
        compare(Path.cwd(), group=["train.sed"])
    with pytest.raises(ProjectError, match="not inside of a DVC repository"):
        compare(tmp_path)


def test_command_line(experimented: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    main(["noise", "--out", "there"])
    assert capsys.readouterr().out.startswith("| experiment")
    assert {path.suffix for path in Path("there").iterdir()} == {".csv", ".md", ".png"}
    with pytest.raises(SystemExit, match="compare: nothing is no parameter of these experiments"):
        main(["--group", "nothing"])


def test_fetch_leaves_the_workspace_alone(experimented: Toy, tmp_path: Path) -> None:
    (noise,) = experiments(Path.cwd(), ["noise"])
    before = Path("data/validation.parquet").read_bytes()
    fetch(Path.cwd(), noise.rev, noise.name, ["data/validation.parquet"], tmp_path / "got")
    assert (tmp_path / "got/validation.parquet").read_bytes() != before
    assert Path("data/validation.parquet").read_bytes() == before
    shutil.rmtree(".dvc/cache")
    with pytest.raises(ProjectError, match=r"validation.parquet of noise is neither in DVC's"):
        fetch(Path.cwd(), noise.rev, noise.name, ["data/validation.parquet"], tmp_path / "got")


def test_only_what_differs_in_nothing_else_is_grouped() -> None:
    runs = [
        made(f"{lr}-{seed}", {"train.lr": lr, "train.seed": seed}, 0.5 + seed / 10, seconds=hours)
        for lr, seed, hours in ((1, 1, 3600.0), (2, 1, 3600.0), (1, 2, 7200.0))
    ]
    one, two = grouped([row_of(run) for run in runs], ["train.seed"])
    assert (one.name, one.members, two.members) == ("1-{1,2}", ("1-1", "1-2"), ("2-1",))
    assert one.figures["micro_f1"].value == pytest.approx(0.65)
    assert one.costs["hours"] == pytest.approx(1.5)
    assert two.figures["micro_f1"].low == pytest.approx(0.59)


def test_what_is_not_known_stays_open() -> None:
    row = row_of(made("quick", seconds=0.0))
    assert row.costs["f1_per_hour"] is None
    assert row.costs["peak_memory_mb"] is None
    broken = made("odd")
    del broken.metrics[QUALITY][HONEST]["mean_average_precision"]
    assert "mean_average_precision" in row_of(broken)
    assert row_of(replace(made("bare"), metrics={})) == f"{QUALITY} is missing"


def test_front() -> None:
    points = {
        "small": (1.0, 0.5),
        "small, worse": (1.0, 0.4),
        "beaten": (3.0, 0.6),
        "middle": (2.0, 0.6),
        "middle's twin": (2.0, 0.6),
        "no better": (5.0, 0.7),
        "best": (4.0, 0.7),
        "unknown": (None, 0.9),
    }
    on = front(*zip(*points.values(), strict=True))
    assert {name for name, is_on in zip(points, on, strict=True) if is_on} == {
        "small", "middle", "middle's twin", "best",
    }  # fmt: skip


def drawn(
    costs: list[float | None], values: list[float], names: list[str]
) -> tuple[dict[str, Any], dict[str, list[dict[str, Any]]]]:
    """The scales of a picture's only panel, and the rows behind what is drawn."""
    intervals = [(value - 0.01, value, value + 0.01) for value in values]
    panel = chart.Panel("MB", costs, front(costs, values))
    cells = [[name, ""] for name in names]
    picture = chart.picture("F1", intervals, [panel], ["experiment", "Pareto"], cells, ["A note."])
    spec = picture.to_dict()
    scatter, table = spec["vconcat"][0]["hconcat"][0]["layer"], spec["vconcat"][1]["layer"]
    layers = {
        "steps": scatter[0], "marks": scatter[3], "labels": scatter[5], "cells": table[1],
        "dots": table[3],
    }  # fmt: skip
    encoding = layers["marks"]["encoding"]
    return {axis: encoding[axis]["scale"] for axis in ("x", "y")}, {
        name: spec["datasets"][layer["data"]["name"]] for name, layer in layers.items()
    }


def test_labels_hide_neither_marks_nor_each_other() -> None:
    random = np.random.default_rng(0)
    costs = random.choice([3.0, 20.0, 21.0, 90.0], 14).tolist()
    values = (0.8 + 0.05 * random.random(14)).tolist()
    scales, rows = drawn(costs, values, [f"experiment-{i}" for i in range(14)])
    across, up = chart.LEAST_WIDTH, chart.PANEL_HEIGHT
    boxes = []
    for label in rows["labels"]:
        width = chart.FONT.getlength(label["name"])
        left = label["x"] - {"left": 0, "center": width / 2, "right": width}[label["align"]]
        boxes.append((left, label["y"] - 6, left + width, label["y"] + 6))
    assert len(boxes) >= 10
    assert all(box[0] >= 0 and box[1] >= 0 and box[2] <= across and box[3] <= up for box in boxes)
    for one, other in combinations(boxes, 2):
        assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
    xs = np.interp(np.log(costs), np.log(scales["x"]["domain"]), [0, across])
    ys = np.interp(values, scales["y"]["domain"], [up, 0])
    for left, top, right, bottom in boxes:
        assert not ((xs > left) & (xs < right) & (ys > top) & (ys < bottom)).any()


@pytest.mark.parametrize(("costs", "scale"), [([1.0, 9.0], "linear"), ([1.0, 11.0], "log")])
def test_the_axis_is_logarithmic_where_costs_differ_much(costs: list[float], scale: str) -> None:
    scales, _ = drawn(costs, [0.5, 0.6], ["a", "b"])
    assert scales["x"]["type"] == scale
    low, high = scales["x"]["domain"]
    assert low < costs[0] < costs[1] < high


def test_costs_of_nothing_or_not_known_are_drawn_all_the_same() -> None:
    scales, rows = drawn([0.0, 50.0, None], [0.5, 0.6, 0.7], ["a", "b", "c"])
    assert scales["x"]["type"] == "linear"
    assert [(row["name"], row["cost"], row["value"]) for row in rows["marks"]] == [
        ("a", 0, 0.5), ("b", 50, 0.6),
    ]  # fmt: skip
    assert {label["name"] for label in rows["labels"]} == {"a", "b"}
    _, rows = drawn([None], [0.5], ["a"])
    assert not rows["marks"]
    assert len(rows["dots"]) == 1


def test_the_front_is_joined_and_coloured_in_panel_and_table() -> None:
    scales, rows = drawn([2.0, 3.0, 1.0], [0.8, 0.7, 0.6], ["best", "beaten", "small"])
    end = scales["x"]["domain"][1]
    steps = [(step["cost"], step["value"]) for step in rows["steps"]]
    assert steps == [(1, 0.6), (2, 0.8), (end, 0.8)]
    colors = [chart.FRONT, chart.REST, chart.FRONT]
    assert {row["name"]: row["color"] for row in rows["marks"]} == dict(
        zip(["best", "beaten", "small"], colors, strict=True)
    )
    assert [row["color"] for row in rows["dots"]] == colors
    assert [(row["low"], row["value"], row["high"]) for row in rows["dots"]] == [
        (value - 0.01, value, value + 0.01) for value in (0.8, 0.7, 0.6)
    ]


def test_long_names_are_shortened() -> None:
    _, rows = drawn([1.0, 2.0], [0.5, 0.6], ["a-long-name-" * 9, "猫" * 40])
    header, *names = [cell["text"] for cell in rows["cells"] if cell["x"] == 0]
    assert header == "experiment"
    assert all(len(name) == chart.MOST_LETTERS and name[-1] == "…" for name in names)

"""The table over real experiments of a small project; the front and the picture on made figures."""

import csv
import shutil
import statistics
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas
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
    found = lines()
    assert list(found) == ["good-fold=1", "workspace", "noise", "broken"]
    assert float(found["noise"]["micro_f1_low"]) == pytest.approx(0.28)
    assert float(found["noise"]["f1_per_100_mb"]) == pytest.approx(15)
    assert found["noise"]["train.backbone"] == "noise"
    assert "no backbone broken" in found["broken"]["problem"]
    assert found["broken"]["micro_f1"] == ""  # not those of the commit that it began at
    picture = np.asarray(Image.open("comparison/comparison.png").convert("RGB"))
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 50


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


def panel(costs: list[float], values: list[float], names: list[str]):
    canvas = Canvas((8, 5), dpi=100)
    renderer = FigureCanvasAgg(canvas).get_renderer()
    axes = canvas.add_axes((0.1, 0.1, 0.85, 0.85))
    intervals = [(value - 0.01, value, value + 0.01) for value in values]
    chart._draw_panel(axes, chart.Panel("MB", costs, front(costs, values)), names, intervals)
    return axes, renderer


def test_labels_hide_neither_marks_nor_each_other() -> None:
    random = np.random.default_rng(0)
    costs = random.choice([3.0, 20.0, 21.0, 90.0], 14).tolist()
    values = (0.8 + 0.05 * random.random(14)).tolist()
    axes, renderer = panel(costs, values, [f"experiment-{i}" for i in range(14)])
    boxes = [text.get_window_extent(renderer) for text in axes.texts]
    assert len(boxes) >= 10
    for one, other in combinations(boxes, 2):
        assert not one.overlaps(other)
    for point in axes.transData.transform(np.column_stack([costs, values])):
        assert not any(box.contains(*point) for box in boxes)
    inside = axes.get_window_extent()
    assert all(inside.contains(*corner) for box in boxes for corner in box.corners())


@pytest.mark.parametrize(("costs", "scale"), [([1.0, 9.0], "linear"), ([1.0, 11.0], "log")])
def test_the_axis_is_logarithmic_where_costs_differ_much(costs: list[float], scale: str) -> None:
    axes, _ = panel(costs, [0.5, 0.6], ["a", "b"])
    assert axes.get_xscale() == scale
    assert axes.get_xlim()[0] < costs[0] < costs[1] < axes.get_xlim()[1]


def test_costs_of_nothing_or_not_known_are_drawn_all_the_same() -> None:
    axes, _ = panel([0.0, 50.0, None], [0.5, 0.6, 0.7], ["a", "b", "c"])
    assert axes.get_xscale() == "linear"
    assert {text.get_text() for text in axes.texts} == {"a", "b"}

"""Searches: what they draw, what their history holds, who is ended early, and the page."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest

from experiments import search_page
from experiments.dvc_project import Experiment
from experiments.params import check_params
from experiments.plan import PlanError
from experiments.search import Search, read_search
from experiments.study import CURVE, Study, quiet
from tests.conftest import ROOT

CURRENT = {"train": {"epochs": 9}, "lr": 0.1, "size": 1, "kind": "a", "part": None, "momentum": 0.9}
SPACE: dict[str, Any] = {
    "lr": {"low": 1e-4, "high": 1.0, "log": True},
    "size": {"low": 16, "high": 64, "step": 16},
    "kind": {"choices": ["a", "b", 1, True]},
    "part": {"choices": [[0.1, 1], None], "when": {"kind": ["b", 1]}},
    "momentum": {"low": 0.5, "high": 0.75, "step": 0.125, "when": {"part": None}},
}


def search(folder: Path, **content: Any) -> Search:
    for name, text in {"params": CURRENT, "s": {"space": SPACE} | content}.items():
        (folder / f"{name}.yaml").write_text(json.dumps(text))  # JSON is YAML
    return read_search(folder, "s.yaml")


def draws(search: Search, count: int = 200) -> list[dict[str, Any]]:
    quiet()
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    return [search.draw(study.ask()) for _ in range(count)]


# What is drawn


def test_ranges_choices_and_conditions(tmp_path: Path):
    drawn = draws(search(tmp_path))
    assert all(1e-4 <= each["lr"] <= 1 for each in drawn)
    assert 0.3 < sum(each["lr"] < 1e-2 for each in drawn) / len(drawn) < 0.7  # log
    assert {each["size"] for each in drawn} == {16, 32, 48, 64}
    assert {repr(each["kind"]) for each in drawn} == {"'a'", "'b'", "1", "True"}
    for each in drawn:
        assert ("part" in each) == (each["kind"] in ("b", 1) and each["kind"] is not True)
        assert ("momentum" in each) == ("part" in each and each["part"] is None)
    assert {repr(each["part"]) for each in drawn if "part" in each} == {"[0.1, 1]", "None"}
    momenta = {each["momentum"] for each in drawn if "momentum" in each}
    assert momenta == {0.5, 0.625, 0.75}


def test_every_end_is_checked_under_its_conditions(tmp_path: Path):
    points = search(tmp_path).points()
    assert len(points) > 100
    for key, values in {"lr": [1e-4, 1.0], "size": [16, 64], "momentum": [0.5, 0.75]}.items():
        assert {each.get(key) for each in points} >= {*values}
    assert points == search(tmp_path).points()


def test_a_preset_to_begin_with_and_overrides(tmp_path: Path):
    (tmp_path / "base.yaml").write_text("train: {epochs: 5}\nlr: 0.3\n")
    search(tmp_path)
    found = read_search(tmp_path, "s.yaml", ["base.yaml"], ["train.epochs=3"], "p")
    assert found.name == "p-base-s"
    assert found.fixed == {"train.epochs": 3, "lr": 0.3}  # the space wins


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"spce": {}}, "s.yaml: spce is not a parameter; did you mean space?"),
        ({"space": {}}, "s.yaml: space should have at least 1 item"),
        ({"space": {"lrr": {"low": 1, "high": 2}}}, "lrr is not a parameter; did you mean lr?"),
        ({"space": {"lr": [1, 2]}}, "space.lr should be a valid dictionary"),
        ({"space": {"lr": {"low": 1}}}, "space.lr.high is missing"),
        ({"space": {"lr": {"low": 1, "hihg": 2}}}, "space.lr.hihg is not .* mean space.lr.high?"),
        ({"space": {"lr": {"low": 2, "high": 1}}}, "s.yaml: lr: low is 2, .* less than high, 1"),
        ({"space": {"lr": {"low": 0, "high": 1, "log": True}}}, "lr: low is 0, but logarithms"),
        ({"space": {"lr": {"low": 1, "high": 4, "step": 2}}}, "lr: steps of 2 from 1 do not come"),
        ({"space": {"lr": {"low": 1, "high": 4, "step": 1, "log": True}}}, "lr: .* step and log"),
        ({"space": {"kind": {"choices": ["a"]}}}, "space.kind.choices should have at least 2"),
        ({"space": {"kind": {"choices": ["a", "a"]}}}, "kind: a choice stands there twice"),
        ({"space": {"kind": {"choices": ["a", {"b": 1}]}}}, "kind cannot be set to"),
        ({"space": SPACE | {"lr": SPACE["lr"] | {"when": {"x": 1}}}}, "lr: when: x is not a"),
        ({"space": SPACE | {"lr": SPACE["lr"] | {"when": {"kind": "a"}}}}, "lr: when: kind is to"),
        ({"space": SPACE | {"part": SPACE["part"] | {"when": {"size": 16}}}}, "when: size is to"),
        ({"space": SPACE | {"part": SPACE["part"] | {"when": {"kind": "c"}}}}, "'c' is no choice"),
        ({"halving": {"epochs": 0, "factor": 2}}, "halving.epochs should be greater"),
        ({"halving": {"epochs": 9, "factor": 2}}, "halving.epochs is 9, .* train.epochs, 9"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_file_is_a_sentence(tmp_path: Path, content: dict[str, Any], words: str):
    with pytest.raises(PlanError, match=words):
        search(tmp_path, **content)


def test_what_is_never_drawn_and_what_is_set_for_all(tmp_path: Path):
    never = SPACE["momentum"] | {"when": {"part": None, "kind": "a"}}
    with pytest.raises(PlanError, match="momentum is never drawn"):
        search(tmp_path, space=SPACE | {"momentum": never}).points()
    with pytest.raises(PlanError, match="lr: in the search, and set for all"):
        read_search(tmp_path, "s.yaml", overrides=["lr=1"])
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text("lr: 1\n")
    with pytest.raises(PlanError, match="one preset at the most"):
        read_search(tmp_path, "s.yaml", ["a.yaml", "b.yaml"])


def test_the_project_checks_many_at_a_time():
    check_params(ROOT, ["train.epochs=5"], [["train.lr=1e-3"], ["train.dropout=0.5"]])
    with pytest.raises(PlanError, match=r"^train.lr=-1: params.yaml: train.lr should be greater"):
        check_params(ROOT, ["train.epochs=5"], [["train.lr=1e-3"], ["train.lr=-1"]])


# What became of it


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Callable[..., Study]]:
    """A function that opens a study anew: each epoch of a trial halves who may go on."""
    found = search(tmp_path, halving={"epochs": 1, "factor": 2}, seed=3)

    def opened(metric: str = "micro_f1", force: bool = False, **sources: str) -> Study:
        return Study(tmp_path, found, metric, CURRENT, sources, force)

    return opened


def experiment(value: float) -> Experiment:
    figure = {"value": value, "low": value, "high": value}
    names = ["micro_f1", "macro_f1", "mean_average_precision", "subset_accuracy"]
    metrics = {
        "metrics/threshold.json": {"cross_fitted": dict.fromkeys(names, figure)},
        "metrics/train.json": {"seconds": 1.0, "mb": 1.0},
    }
    return Experiment("x", "HEAD", {}, metrics, {}, {})


@pytest.fixture
def no_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Experiments of no commit have no files in Git."""
    monkeypatch.setattr("experiments.study.git_file", lambda *_: None)


@pytest.mark.usefixtures("no_curves")
def test_stopped_or_not_the_same_trials_are_drawn(study: Callable[..., Study], tmp_path: Path):
    drawn: list[list[Any]] = []
    for is_stopped in (False, True):
        (tmp_path / "searches/s/study.log").unlink(missing_ok=True)
        opened, values = study(), []
        for number in range(13):  # ten of them at random
            if is_stopped:
                opened = study()
            trial = opened.next()
            values.append(trial.values)
            opened.complete(trial, experiment(trial.values["lr"] / (number + 1)))
        drawn.append(values)
        assert opened.ended == 13
    assert drawn[0] == drawn[1]
    assert len({json.dumps(values) for values in drawn[0]}) == 13


@pytest.mark.usefixtures("no_curves")
def test_what_was_killed_is_run_again_and_counts_once(study: Callable[..., Study], tmp_path: Path):
    first = study()
    trials = [first.next() for _ in range(3)]
    first.complete(trials[0], experiment(0.5))
    with (tmp_path / "searches/s/study.log").open("a") as file:
        file.write('{"half": a li')  # the disk was full
    again = study()
    killed = [again.next() for _ in range(2)]
    assert [(each.name, each.values) for each in killed] == [
        (each.name, each.values) for each in trials[1:]
    ]
    assert again.next().number == 3
    again.complete(killed[0], experiment(0.6))
    again.fail(killed[1], "out of memory")
    again.write()
    assert study().ended == 2  # in place of what failed, another may be tried
    rows = again.rows()
    assert [row["state"] for row in rows] == ["complete", "complete", "fail", "running"]
    assert (rows[1]["value"], rows[2]["problem"], again.ended) == (0.6, "out of memory", 3)
    lines = (tmp_path / "searches/s/trials.csv").read_text().splitlines()
    assert lines[0] == "number,experiment,state,value,epochs,problem,lr,size,kind,part,momentum"
    assert lines[2].startswith("1,s-001,complete,0.6,0,,")


def test_one_that_was_made_otherwise(study: Callable[..., Study]):
    study(code="1").next()
    with pytest.raises(PlanError, match=r"The search s is there, .*: code changed since$"):
        study(code="2")
    with pytest.raises(PlanError, match="metric changed"):
        study("macro_f1", code="1")
    assert study(code="2", force=True).rows() == []
    assert study(code="2").rows() == []


def curve(folder: Path, *values: float) -> None:
    file = folder / CURVE.format(metric="micro_f1")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    lines = [f"{step}\t{value}\n" for step, value in enumerate(values)]
    file.write_text("step\tmicro_f1\n" + "".join(lines))


@pytest.mark.usefixtures("no_curves")
def test_who_promises_less_than_half_of_the_others_is_ended(
    study: Callable[..., Study], tmp_path: Path
):
    opened = study()
    folders = [tmp_path / str(number) for number in range(3)]
    trials = [opened.next() for _ in folders]
    curve(tmp_path, 0.1, 0.2)
    watches = [opened.watch(trial) for trial in trials]

    def asked() -> list[bool]:
        return [watch(folder) for watch, folder in zip(watches, folders, strict=True)]

    for begun in ([], [0.1], [0.1, 0.2]):  # what lies here is copied there, and none of the trial's
        assert asked() == [False] * 3
        curve(folders[1], *begun)
    curve(folders[0], 0.5, 0.6)
    curve(folders[1], 0.7)
    curve(folders[2], 0.4, 0.9)
    # The last by its first epoch; how it went on is not looked at.
    assert asked() == [False, False, True]
    opened.prune(trials[2])
    opened.complete(trials[0], experiment(0.8))
    rows = opened.rows()
    assert [(row["state"], row["value"], row["epochs"]) for row in rows] == [
        ("complete", 0.8, 2), ("running", None, 1), ("pruned", None, 1)
    ]  # fmt: skip
    assert [(row["number"], row["epoch"], row["value"]) for row in opened.epochs()] == [
        (0, 1, 0.5), (0, 2, 0.6), (1, 1, 0.7), (2, 1, 0.4)
    ]  # fmt: skip


@pytest.mark.usefixtures("no_curves")
def test_the_page_has_the_trials_and_what_they_tell(study: Callable[..., Study], tmp_path: Path):
    opened = study()
    for number in range(12):
        trial = opened.next()
        curve(tmp_path / "copy", 0.1 + number / 100)
        opened.watch(trial)(tmp_path / "copy")
        opened.complete(trial, experiment(trial.values["lr"]))
    opened.prune(opened.next())
    search_page.write(opened, search(tmp_path), "micro_f1")
    text = (tmp_path / "searches/s/index.html").read_text("utf-8")
    best = max(opened.rows(), key=lambda row: row["value"] or 0)
    assert f"Best of 13 trials: {best['experiment']}, validation micro-F1" in text
    table = text.partition("<h2>Trials</h2>")[2].partition("</table>")[0]
    assert table.count("<tr>") == 14
    specs = json.loads(re.search(r'id="charts">(.*?)</script>', text, re.DOTALL)[1])
    assert {*specs} == {"curves", "history", "importances", "slices", "parallel"}
    (bars,) = specs["importances"]["datasets"].values()
    shares = {row["key"]: row["share"] for row in bars}
    assert max(shares, key=lambda key: shares[key]) == "lr"
    assert len(specs["slices"]["concat"]) == len(SPACE)
    for rows in specs["parallel"]["datasets"].values():
        assert 0 <= min(row["at"] for row in rows) < max(row["at"] for row in rows) <= 1

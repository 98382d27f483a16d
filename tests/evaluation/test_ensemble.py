"""Weights on made probabilities, members combined, and the command on real experiments."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from ruamel.yaml import YAML
from sklearn.metrics import f1_score
from sklearn.metrics import log_loss as sklearn_log_loss

from evaluation.ensemble.__main__ import main
from evaluation.ensemble.combine import combine
from evaluation.ensemble.fit import Rows, cross_fit
from evaluation.ensemble.members import read_members
from evaluation.ensemble.weights import LEAST, find_weights, log_loss, mix
from stages import UserError
from stages.ingest.records import label_lists
from stages.metrics import micro_f1
from stages.network.probabilities import (
    probability_table,
    read_label_names,
    read_probabilities,
    write_probabilities,
)
from stages.params import read
from stages.threshold.decision import Decision, write_decision
from stages.threshold.fit import cross_fit as cross_fit_alone
from stages.threshold.params import Threshold
from tests import forked_python
from tests.conftest import ROOT
from tests.flows import runs
from tests.toy import Toy

LABELS = ["cat", "dog", "10"]


def truths(rows: int = 200, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((rows, 3)) < [0.5, 0.3, 0.15]


def predicted(truth: np.ndarray, noise: float, seed: int) -> np.ndarray:
    """Probabilities as float32 from logits with noise, calibrated."""
    random = np.random.default_rng(seed)
    # The likelihood ratio of a normal with mean ±1.
    logits = 2 * (np.where(truth, 1, -1) + noise * random.normal(size=truth.shape)) / noise**2
    return (1 / (1 + np.exp(-logits))).astype(np.float32)


def unknown_lists(known: np.ndarray, labels: list[str]) -> pl.Series:
    """As records have them: null where there are none."""
    lists = [list(np.array(labels)[~row]) or None for row in known]
    return pl.Series("unknown", lists, pl.List(pl.String))


def write_network(
    folder: Path,
    truth: np.ndarray,
    validation: np.ndarray,
    test: np.ndarray | None = None,
    ids: list[int] | None = None,
    labels: list[str] = LABELS,
    known: np.ndarray | None = None,
) -> None:
    """A network's files; the test photos have no labels, and the probabilities are calibrated."""
    lists = label_lists(truth, labels)
    hidden = None if known is None else unknown_lists(known, labels)
    numbers = pl.Series("id", [f"{i}.jpg" for i in ids or range(len(truth))], pl.String)
    table = probability_table(numbers, lists, validation, hidden)
    write_probabilities(table, labels, folder / "validation.parquet")
    test = np.empty((0, 3), np.float32) if test is None else test
    numbers = pl.Series("id", [f"t{i}.jpg" for i in range(len(test))], pl.String)
    unknown = pl.Series("labels", [None] * len(test), pl.List(pl.String))
    table = probability_table(numbers, unknown, test).with_columns(unknown.alias("predicted"))
    write_probabilities(table, labels, folder / "predictions.parquet")
    at_half = Decision(labels, [0.5] * len(labels), "global", "micro_f1", 0)
    write_decision(at_half, folder / "decision.json")


def write_member(folder: Path, *network: np.ndarray, **options: Any) -> Path:
    """A member of one network, with what ``write_network`` takes."""
    write_network(folder / "0", *network, **options)
    return folder


def combined(*members: Path, out: str = "out") -> dict[str, Any]:
    """The metrics of the ensemble of these folders."""
    combine(read_members(members), read(Threshold), Path(out))
    return json.loads(Path(out, "metrics.json").read_text())


def gap(truth: np.ndarray, members: np.ndarray, weights: np.ndarray) -> float:
    """How much log loss weights on the simplex could gain at the most (Frank and Wolfe 1956)."""
    given = np.where(truth, members, 1 - members.astype(float)).clip(LEAST)
    return float((given / np.tensordot(weights, given, axes=1)).mean(axis=(1, 2)).max() - 1)


def test_a_member_that_knows_nothing_gets_no_weight():
    truth = truths(2000)
    good, noise = predicted(truth, 0.6, 1), predicted(truths(2000, 5), 0.6, 2)
    weights = find_weights(truth, np.stack([noise, good]))
    assert weights == pytest.approx([0, 1], abs=0.01)


def test_members_that_know_different_things_are_better_together():
    truth = truths(1000)
    one, two = predicted(truth, 1, 1), predicted(truth, 1, 2)
    weights = find_weights(truth, np.stack([one, two]))
    assert weights == pytest.approx([0.5, 0.5], abs=0.15)
    alone = min(log_loss(truth, one), log_loss(truth, two))
    assert log_loss(truth, mix(weights, np.stack([one, two]))) < 0.9 * alone


@pytest.mark.parametrize("seed", range(6))
def test_no_weights_are_better(seed: int):
    random = np.random.default_rng(seed)
    truth = truths(random.integers(10, 500), seed)
    members = np.stack([predicted(truth, noise, seed) for noise in random.uniform(0.3, 5, 5)])
    members[0] = np.round(members[0])  # 0 and 1, also where it is wrong
    weights = find_weights(truth, members)
    assert weights.sum() == pytest.approx(1)
    assert (weights >= 0).all()
    assert gap(truth, members, weights) < 1e-5
    assert gap(truth, members, np.full(5, 0.2)) > 1e-3


def test_one_member_alone_is_measured_as_the_stage_threshold_does(params):
    truth = truths()
    member = predicted(truth, 1, 3)
    mixed, decided = cross_fit(Rows(truth, member[None]), read(Threshold))
    assert (mixed == member).all()
    assert (decided == cross_fit_alone(truth, member, read(Threshold))).all()


def test_cross_fitting_decides_no_row_by_what_saw_it(params):
    truth = truths(40)
    members = np.stack([predicted(truth, 1, seed) for seed in (4, 5)])
    mixed, decided = cross_fit(Rows(truth, members), read(Threshold))
    turned = truth.copy()
    turned[7] = ~turned[7]
    other, other_decided = cross_fit(Rows(turned, members), read(Threshold))
    assert (other[7] == mixed[7]).all()
    assert (other_decided[7] == decided[7]).all()
    assert (other != mixed).any()


def test_what_is_written(params, tmp_path: Path):
    truth, test_truth = truths(400), truths(50, 9)
    members = [predicted(truth, 1, 1), predicted(truth, 1, 2)]
    one = write_member(tmp_path / "one", truth, members[0], predicted(test_truth, 1, 3))
    two = write_member(tmp_path / "two", truth, members[1], predicted(test_truth, 1, 4))
    metrics = combined(one, two)
    weights = json.loads(Path("out/weights.json").read_text())
    together = metrics["ensemble"]["cross_fitted"]["micro_f1"]
    for member in metrics["members"].values():
        assert together["value"] > member["cross_fitted"]["micro_f1"]["high"]
        assert "test" not in member
    assert together["low"] < together["value"] < together["high"]

    mixed = pl.read_parquet("out/validation.parquet")["probabilities"].to_numpy()
    assert mixed == pytest.approx(weights["one"] * members[0] + weights["two"] * members[1])
    assert read_label_names(Path("out/validation.parquet")) == LABELS
    thresholds = np.array(json.loads(Path("out/decision.json").read_text())["thresholds"])
    f1 = micro_f1(truth, mixed >= thresholds)
    assert f1 == pytest.approx(metrics["ensemble"]["found"]["micro_f1"])

    test = pl.read_parquet("out/predictions.parquet")
    names = np.array(LABELS, object)
    decided = test["probabilities"].to_numpy() >= thresholds
    assert test["predicted"].to_list() == [list(names[row]) for row in decided]


def test_a_member_of_folds(params, tmp_path: Path):
    truth = truths(90)
    validation, tests = predicted(truth, 1, 1), [predicted(truths(20, 9), 1, i) for i in range(3)]
    folds = [np.arange(i, 90, 3) for i in range(3)]
    for i, rows in enumerate(folds):
        network = truth[rows], validation[rows], tests[i], rows.tolist()
        write_network(tmp_path / f"cross/{i}", *network)
    order = np.random.default_rng(0).permutation(90)
    noise = predicted(truths(90, 5), 1, 6)
    network = truth[order], noise[order], tests[0], order.tolist()
    whole = write_member(tmp_path / "whole", *network)
    metrics = combined(tmp_path / "cross", whole)
    assert [member["networks"] for member in metrics["members"].values()] == [3, 1]
    assert json.loads(Path("out/weights.json").read_text())["cross"] > 0.9
    combined(tmp_path / "cross", out="alone")
    mean = pl.read_parquet("alone/predictions.parquet")["probabilities"].to_numpy()
    assert mean == pytest.approx(np.mean(tests, axis=0))
    rows = pl.read_parquet("alone/validation.parquet")
    order = rows["id"].str.strip_suffix(".jpg").cast(pl.Int32).to_numpy()
    assert sorted(order) == list(range(90))
    assert (rows["probabilities"].to_numpy() == validation[order]).all()


def test_test_photos_with_labels_are_measured(params, tmp_path: Path):
    truth = truths(60)
    folder = write_member(tmp_path / "one", truth, predicted(truth, 0.5, 1))
    known = pl.read_parquet(folder / "0/validation.parquet").with_columns(predicted="labels")
    write_probabilities(known, LABELS, folder / "0/predictions.parquet")
    metrics = combined(folder)["ensemble"]
    assert metrics["test"]["micro_f1"]["value"] == metrics["found"]["micro_f1"]


@pytest.fixture
def known() -> np.ndarray:
    return np.random.default_rng(3).random((300, 3)) < 0.5


def test_what_is_not_known_gives_no_member_weight(known: np.ndarray):
    """One is right where it is known, and the other where it is not."""
    truth = truths(300)
    right, wrong = (predicted(of, 0.6, 1) for of in (truth, ~truth))
    members = np.stack([np.where(known, right, wrong), np.where(known, wrong, right)])
    assert find_weights(truth, members, known) == pytest.approx([1, 0], abs=0.01)
    assert log_loss(truth, members[0], known) == pytest.approx(
        sklearn_log_loss(truth[known], right[known].astype(float)), rel=1e-5
    )


def test_what_is_not_known_changes_no_figure(params, tmp_path: Path, known: np.ndarray):
    truth = truths(300)
    members = np.stack([predicted(truth, 1, seed) for seed in (1, 2)])
    # Other networks, which say the opposite where nobody knows what is right.
    others = np.where(known, members, 1 - members)
    metrics = []
    for name, networks in (("members", members), ("others", others)):
        folders = [
            write_member(tmp_path / name / str(i), truth & known, network, known=known)
            for i, network in enumerate(networks)
        ]
        for folder in folders:  # test photos with labels, too
            table = pl.read_parquet(folder / "0/validation.parquet")
            table = table.with_columns(predicted="labels")
            write_probabilities(table, LABELS, folder / "0/predictions.parquet")
        metrics.append(combined(*folders, out=name))
        for file in ("validation", "predictions"):
            written = read_probabilities(Path(name, f"{file}.parquet"))
            assert written["unknown"].to_list() == unknown_lists(known, LABELS).to_list()
    assert metrics[0] == metrics[1]
    f1 = f1_score(truth[known], members[0][known] >= 0.5)
    assert metrics[0]["members"]["0"]["found"]["micro_f1"] == pytest.approx(f1, abs=0.05)
    assert (
        metrics[0]["ensemble"]["test"]["micro_f1"]["value"]
        == (metrics[0]["ensemble"]["found"]["micro_f1"])
    )


def test_members_that_do_not_match(params, tmp_path: Path):
    truth = truths(30)
    validation, test = predicted(truth, 1, 1), predicted(truths(4), 1, 1)
    network = truth, validation, test
    one = write_member(tmp_path / "one", *network)

    def refused(match: str, *others: Path) -> None:
        with pytest.raises(UserError, match=match):
            combined(one, *others)
        assert not Path("out").exists()

    fewer = write_member(tmp_path / "fewer", truth[:20], validation[:20], test)
    refused(r"one and fewer .* validation.parquet: 10 only in one \(first: 20.jpg\); comb", fewer)
    other = write_member(tmp_path / "other", truth, validation, test[:3])
    refused(r"one and other .* predictions.parquet: 1 only in one \(first: t3.jpg\)", other)
    turned = truth.copy()
    turned[5] = ~turned[5]
    lies = write_member(tmp_path / "lies", turned, validation, test)
    refused(r"one and lies .* labels for 5.jpg in validation.parquet", lies)
    known = np.ones_like(truth)
    known[5] = False
    asked = write_member(tmp_path / "asked", *network, known=known)
    refused(r"one and asked .* labels for 5.jpg in validation.parquet", asked)
    cats = write_member(tmp_path / "cats", *network, labels=["cats", "dog", "10"])
    refused("one and cats .* labels: only one has cat, cats", cats)
    order = write_member(tmp_path / "order", *network, labels=["dog", "cat", "10"])
    refused("one and order .* order is another", order)
    refused("two folders are named one", write_member(tmp_path / "below/one", *network))
    for i in range(2):
        write_network(tmp_path / f"twice/{i}", *network)
    refused("^twice: more than one network validates 0.jpg", tmp_path / "twice")
    write_network(tmp_path / "twice/1", *network, labels=["cats", "dog", "10"])
    refused("^twice/0 and twice/1/validation.parquet .* only one has cat, cats", tmp_path / "twice")


def test_without_a_row_it_says_so(params, tmp_path: Path):
    nothing = write_member(tmp_path / "none", truths(0), np.empty((0, 3), np.float32))
    with pytest.raises(UserError, match=r"^none: no row validates"):
        combined(nothing)


@pytest.fixture
def project(experimented: Toy) -> Toy:
    """The project with experiments, with all sections in its ``params.yaml``."""
    params = YAML(typ="safe").load(ROOT / "params.yaml")
    params["threshold"] = runs.PARAMS["threshold"]
    (experimented.folder / "params.yaml").write_text(json.dumps(params))
    return experimented


def test_the_good_one_counts(project: Toy, capfd: pytest.CaptureFixture[str]):
    main(["HEAD", "noise"])
    weights = json.loads(Path("ensemble/weights.json").read_text())
    assert weights == pytest.approx({"HEAD": 1, "noise": 0}, abs=0.01)
    metrics = json.loads(Path("ensemble/metrics.json").read_text())
    assert metrics["ensemble"]["test"]["micro_f1"]["value"] > 0.95
    assert metrics["members"]["noise"]["test"]["micro_f1"]["value"] < 0.7
    printed = capfd.readouterr().out
    assert "equal weights" in printed
    assert printed.endswith("Written to ensemble/\n")
    assert project.git("status", "--porcelain", "--", "data", "metrics") == ""


def test_experiments_of_different_folds_are_one_member(project: Toy, tmp_path: Path):
    main(["good-fold=1", "HEAD", f"--out={tmp_path / 'out'}"])
    validation = pl.read_parquet(tmp_path / "out/validation.parquet")
    assert sorted(validation["id"]) == sorted(f"{i}.jpg" for i in range(runs.ROWS))
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    (member,) = metrics["members"].values()
    assert (member["networks"], metrics["rows"]) == (2, runs.ROWS)


def test_a_wrong_value_is_the_first_thing_said(project: Toy):
    path = project.folder / "params.yaml"
    sound = path.read_text()
    for changed in (('"shrinkage": 20,', '"shrinkage": -1,'), ('"onnx": ', '"onyx": ')):
        path.write_text(sound.replace(*changed))
        with pytest.raises(UserError, match=r"^params.yaml: (threshold\.shrinkage|bundle\.onyx) "):
            main(["nowhere"])


def test_what_has_no_result_is_no_member(project: Toy):
    with pytest.raises(UserError, match=r"^broken cannot be a member: train: there is no"):
        main(["HEAD", "broken"])
    with pytest.raises(UserError, match=r"^nowhere cannot be a member: there is no exp"):
        main(["nowhere"])


def test_the_command_ends_with_one_sentence(project: Toy):
    """Run as people do, with members of different rows."""
    done = subprocess.run(
        [forked_python.executable(), "-m", "evaluation.ensemble", "HEAD", "good-fold=1", "noise"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(
        "ensemble: {HEAD,good-fold=1} and noise do not have the same rows"
    )
    assert f"{runs.ROWS // 2} only in {{HEAD,good-fold=1}} (first: 1.jpg)" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not Path("ensemble").exists()

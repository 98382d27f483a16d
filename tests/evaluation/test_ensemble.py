"""Weights on made probabilities, and the program as it runs."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from evaluation.ensemble import weights
from evaluation.ensemble.__main__ import Rows, cross_fit, main
from stages import UserError
from stages.metrics import micro_f1
from stages.network import probabilities as tables
from stages.params import read
from stages.threshold import decision as decisions
from stages.threshold.decision import Decision
from stages.threshold.fit import cross_fit as cross_fit_alone
from stages.threshold.params import Threshold

LABELS = ["cat", "dog", "10"]


def truths(rows: int = 200, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((rows, 3)) < [0.5, 0.3, 0.15]


def told(truth: np.ndarray, noise: float, seed: int) -> np.ndarray:
    """Probabilities as float32 from logits with noise, calibrated."""
    random = np.random.default_rng(seed)
    # The likelihood ratio of a normal with mean ±1.
    logits = 2 * (np.where(truth, 1, -1) + noise * random.normal(size=truth.shape)) / noise**2
    return (1 / (1 + np.exp(-logits))).astype(np.float32)


def write(
    folder: Path,
    truth: np.ndarray,
    said: np.ndarray,
    test: np.ndarray | None = None,
    ids: list[int] | None = None,
    labels: list[str] = LABELS,
) -> Path:
    """A network's files; the test photos have no labels, and what is said needs no calibration."""
    names = np.array(labels, object)
    lists = pl.Series("labels", [list(names[row]) for row in truth], pl.List(pl.String))
    numbers = pl.Series("id", [f"{i}.jpg" for i in ids or range(len(truth))], pl.String)
    tables.write(tables.table(numbers, lists, said), labels, folder / "validation.parquet")
    test = np.empty((0, 3), np.float32) if test is None else test
    numbers = pl.Series("id", [f"t{i}.jpg" for i in range(len(test))], pl.String)
    unknown = pl.Series("labels", [None] * len(test), pl.List(pl.String))
    table = tables.table(numbers, unknown, test).with_columns(unknown.alias("predicted"))
    tables.write(table, labels, folder / "predictions.parquet")
    decision = Decision(labels, [0.5] * len(labels), "global", "micro_f1", 0)
    decisions.write(decision, folder / "decision.json")
    return folder


def run(*folders: Path, out: str = "out") -> dict:
    main([*map(str, folders), "--out", out])
    return json.loads(Path(out, "metrics.json").read_text())


def gap(truth: np.ndarray, said: np.ndarray, found: np.ndarray) -> float:
    """How much log loss weights on the simplex could gain at the most (Frank and Wolfe 1956)."""
    given = np.where(truth, said, 1 - said.astype(float)).clip(weights.LEAST)
    return float((given / np.tensordot(found, given, axes=1)).mean(axis=(1, 2)).max() - 1)


def test_what_says_nothing_gets_no_weight():
    truth = truths(2000)
    good, noise = told(truth, 0.6, 1), told(truths(2000, 5), 0.6, 2)
    found = weights.find(truth, np.stack([noise, good]))
    assert found == pytest.approx([0, 1], abs=0.01)


def test_members_that_know_different_things_are_better_together():
    truth = truths(1000)
    one, two = told(truth, 1, 1), told(truth, 1, 2)
    found = weights.find(truth, np.stack([one, two]))
    assert found == pytest.approx([0.5, 0.5], abs=0.15)
    alone = min(weights.log_loss(truth, one), weights.log_loss(truth, two))
    assert weights.log_loss(truth, weights.mix(found, np.stack([one, two]))) < 0.9 * alone


@pytest.mark.parametrize("seed", range(6))
def test_no_weights_are_better(seed: int):
    random = np.random.default_rng(seed)
    truth = truths(random.integers(10, 500), seed)
    said = np.stack([told(truth, noise, seed) for noise in random.uniform(0.3, 5, 5)])
    said[0] = np.round(said[0])  # 0 and 1, also where it is wrong
    found = weights.find(truth, said)
    assert found.sum() == pytest.approx(1)
    assert (found >= 0).all()
    assert gap(truth, said, found) < 1e-5
    assert gap(truth, said, np.full(5, 0.2)) > 1e-3


def test_one_member_alone_is_measured_as_the_stage_threshold_does(params):
    truth = truths()
    said = told(truth, 1, 3)
    mixed, decided = cross_fit(Rows(truth, said[None]), read(Threshold))
    assert (mixed == said).all()
    assert (decided == cross_fit_alone(truth, said, read(Threshold))).all()


def test_cross_fitting_decides_no_row_by_what_saw_it(params):
    truth = truths(40)
    said = np.stack([told(truth, 1, seed) for seed in (4, 5)])
    mixed, decided = cross_fit(Rows(truth, said), read(Threshold))
    turned = truth.copy()
    turned[7] = ~turned[7]
    other, other_decided = cross_fit(Rows(turned, said), read(Threshold))
    assert (other[7] == mixed[7]).all()
    assert (other_decided[7] == decided[7]).all()
    assert (other != mixed).any()


def test_the_program(params, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    truth, test_truth = truths(400), truths(50, 9)
    one = write(tmp_path / "one", truth, told(truth, 1, 1), told(test_truth, 1, 3))
    two = write(tmp_path / "two", truth, told(truth, 1, 2), told(test_truth, 1, 4))
    figures = run(one, two)
    found = json.loads(Path("out/weights.json").read_text())
    together = figures["ensemble"]["cross_fitted"]["micro_f1"]
    for member in figures["members"].values():
        assert together["value"] > member["cross_fitted"]["micro_f1"]["high"]
        assert "test" not in member
    assert together["low"] < together["value"] < together["high"]

    said = pl.read_parquet("out/validation.parquet")
    expected = found["one"] * told(truth, 1, 1) + found["two"] * told(truth, 1, 2)
    assert said["probabilities"].to_numpy() == pytest.approx(expected)
    assert tables.read_label_names(Path("out/validation.parquet")) == LABELS
    decision = json.loads(Path("out/decision.json").read_text())
    decided = said["probabilities"].to_numpy() >= np.array(decision["thresholds"])
    assert micro_f1(truth, decided) == pytest.approx(figures["ensemble"]["found"]["micro_f1"])

    predicted = pl.read_parquet("out/predictions.parquet")
    decided = predicted["probabilities"].to_numpy() >= np.array(decision["thresholds"])
    names = np.array(LABELS, object)
    assert predicted["predicted"].to_list() == [list(names[row]) for row in decided]
    assert "equal weights" in capsys.readouterr().out


def test_a_member_of_folds(params, tmp_path: Path):
    truth = truths(90)
    said, tests = told(truth, 1, 1), [told(truths(20, 9), 1, i) for i in range(3)]
    folds = [np.arange(i, 90, 3) for i in range(3)]
    for i, rows in enumerate(folds):
        write(tmp_path / f"cross/{i}", truth[rows], said[rows], tests[i], rows.tolist())
    order = np.random.default_rng(0).permutation(90)
    noise = told(truths(90, 5), 1, 6)
    whole = write(tmp_path / "whole", truth[order], noise[order], tests[0], order.tolist())
    figures = run(tmp_path / "cross", whole)
    assert [member["networks"] for member in figures["members"].values()] == [3, 1]
    found = json.loads(Path("out/weights.json").read_text())
    assert found["cross"] > 0.9
    run(tmp_path / "cross", out="alone")
    mean = pl.read_parquet("alone/predictions.parquet")["probabilities"].to_numpy()
    assert mean == pytest.approx(np.mean(tests, axis=0))
    rows = pl.read_parquet("alone/validation.parquet")
    order = rows["id"].str.strip_suffix(".jpg").cast(pl.Int32).to_numpy()
    assert sorted(order) == list(range(90))
    assert (rows["probabilities"].to_numpy() == said[order]).all()


def test_test_photos_with_labels_are_measured(params, tmp_path: Path):
    truth = truths(60)
    folder = write(tmp_path / "one", truth, told(truth, 0.5, 1))
    known = pl.read_parquet(folder / "validation.parquet").with_columns(predicted="labels")
    tables.write(known, LABELS, folder / "predictions.parquet")
    figures = run(folder)["ensemble"]
    assert figures["test"]["micro_f1"]["value"] == figures["found"]["micro_f1"]


def test_members_that_do_not_match(params, tmp_path: Path):
    truth = truths(30)
    said, test = told(truth, 1, 1), told(truths(4), 1, 1)
    one = write(tmp_path / "one", truth, said, test)

    def refused(match: str, *others: Path) -> None:
        with pytest.raises(UserError, match=match):
            run(one, *others)
        assert not Path("out").exists()

    fewer = write(tmp_path / "fewer", truth[:20], said[:20], test)
    refused(r"one and fewer .* validation.parquet: 10 only in one \(first: 20.jpg\); comb", fewer)
    other = write(tmp_path / "other", truth, said, test[:3])
    refused(r"one and other .* predictions.parquet: 1 only in one \(first: t3.jpg\)", other)
    turned = truth.copy()
    turned[5] = ~turned[5]
    lies = write(tmp_path / "lies", turned, said, test)
    refused(r"one and lies say different true labels for 5.jpg in validation.parquet", lies)
    cats = write(tmp_path / "cats", truth, said, test, labels=["cats", "dog", "10"])
    refused("one and cats do not have the same labels: only one has cat, cats", cats)
    order = write(tmp_path / "order", truth, said, test, labels=["dog", "cat", "10"])
    refused("same labels: their order is another", order)
    refused("two folders are named one", write(tmp_path / "below/one", truth, said, test))
    refused("holds no validation.parquet", tmp_path / "nowhere")
    write(tmp_path / "twice/0", truth, said, test)
    write(tmp_path / "twice/1", truth, said, test)
    refused("twice: more than one network validates 0.jpg", tmp_path / "twice")


def test_without_a_row_it_says_so(params, tmp_path: Path):
    nothing = write(tmp_path / "none", truths(0), np.empty((0, 3), np.float32))
    with pytest.raises(UserError, match="no row validates"):
        run(nothing)

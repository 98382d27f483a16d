"""Intervals, the decision, and the stage as it runs."""

import csv
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn import metrics as sklearn_metrics

from stages import UserError
from stages.intervals import report
from stages.network.probabilities import probability_table, write_probabilities
from stages.threshold.__main__ import main
from stages.threshold.decision import Decision, read_decision
from stages.threshold.fit import cross_fit

LABELS = ["cat", "dog", "10"]


def sample(rows: int = 200, seed: int = 0):
    random = np.random.default_rng(seed)
    truth = random.random((rows, 3)) < [0.5, 0.2, 0.05]
    scores = np.clip(truth * 0.35 + random.random((rows, 3)) * 0.6, 0, 1).astype(np.float32)
    return truth, scores


def write_validation(truth: np.ndarray, scores: np.ndarray) -> None:
    names = np.array(LABELS, object)
    labels = pl.Series("labels", [list(names[row]) for row in truth], pl.List(pl.String))
    ids = pl.Series("id", [f"{i}.jpg" for i in range(len(truth))], pl.String)
    write_probabilities(probability_table(ids, labels, scores), LABELS)


@pytest.fixture
def run(params):
    def run(**changes) -> dict:
        params({f"threshold.{key}": value for key, value in changes.items()})
        main()
        return json.loads(Path("metrics/threshold.json").read_text())

    return run


def test_figures_agree_with_scikit_learn():
    truth, scores = sample()
    predicted = scores >= 0.5
    metrics = report(truth, scores, predicted, samples=100, seed=0)
    expected = {
        "subset_accuracy": sklearn_metrics.accuracy_score(truth, predicted),
        "hamming_loss": sklearn_metrics.hamming_loss(truth, predicted),
        "mean_average_precision": sklearn_metrics.average_precision_score(truth, scores),
    }
    for average in ("micro", "macro"):
        scored = sklearn_metrics.precision_recall_fscore_support(truth, predicted, average=average)
        for name, value in zip(("precision", "recall", "f1"), scored, strict=False):
            expected[f"{average}_{name}"] = value
    assert {name: figure["value"] for name, figure in metrics.items()} == pytest.approx(expected)


@pytest.mark.slow
def test_intervals_agree_with_resampling_row_by_row():
    truth, scores = sample()
    predicted = scores >= 0.5
    metrics = report(truth, scores, predicted, samples=400, seed=1)
    random = np.random.default_rng(2)
    drawn = []
    for _ in range(400):
        rows = random.integers(len(truth), size=len(truth))
        drawn.append(sklearn_metrics.f1_score(truth[rows], predicted[rows], average="micro"))
    low, high = np.percentile(drawn, [2.5, 97.5])
    assert metrics["micro_f1"]["low"] == pytest.approx(low, abs=0.01)
    assert metrics["micro_f1"]["high"] == pytest.approx(high, abs=0.01)
    for figure in metrics.values():
        assert figure["low"] <= figure["value"] <= figure["high"]


def test_cross_fitting_decides_no_row_by_a_threshold_that_saw_it(params):
    from stages.params import read
    from stages.threshold.params import Threshold

    truth, scores = sample(40)
    given = read(Threshold)
    decided = cross_fit(truth, scores, given)
    # With its own truth turned round, a row's decision stays the same.
    turned = truth.copy()
    turned[7] = ~turned[7]
    assert (cross_fit(turned, scores, given)[7] == decided[7]).all()


def test_the_stage_writes_a_decision_that_beats_one_half(run):
    truth, scores = sample()
    write_validation(truth, scores)
    metrics = run()
    decision = read_decision()
    assert decision.labels == LABELS
    assert len(set(decision.thresholds)) == 1
    assert metrics["threshold"] == pytest.approx(decision.thresholds[0], abs=1e-6)
    f1 = sklearn_metrics.f1_score(truth, decision.apply(scores), average="micro")
    assert metrics["found"]["micro_f1"]["value"] == pytest.approx(f1, abs=1e-6)
    assert metrics["found"]["micro_f1"]["value"] > metrics["at_half"]["micro_f1"]["value"]
    assert metrics["cross_fitted"]["micro_f1"]["value"] <= metrics["found"]["micro_f1"]["value"]
    assert metrics["labels"]["dog"]["count"] == truth[:, 1].sum()


def test_the_scope_label_gives_each_label_its_own(run):
    write_validation(*sample())
    overall = run(metric="macro_f1")
    metrics = run(scope="label", metric="macro_f1", shrinkage=0)
    assert len(set(read_decision().thresholds)) == 3
    assert metrics["threshold"].keys() == set(LABELS)
    assert metrics["found"]["macro_f1"]["value"] > overall["found"]["macro_f1"]["value"]


def test_the_curves_can_be_plotted(run):
    write_validation(*sample())
    run()
    with open("metrics/threshold/curve.csv") as file:
        points = list(csv.DictReader(file))
    assert len(points) == 101
    assert max(float(point["f1"]) for point in points) > 0.5
    with open("metrics/threshold/labels.csv") as file:
        assert [row["label"] for row in csv.DictReader(file)] == LABELS


def test_the_temperature_is_part_of_the_decision(run):
    truth, scores = sample()
    write_validation(truth, scores)
    metrics = run()["calibration"]
    decision = read_decision()
    assert metrics["temperature"] == pytest.approx(decision.temperature, abs=1e-6)
    assert metrics["after"]["log_loss"] < metrics["before"]["log_loss"]
    with open("metrics/threshold/reliability.csv") as file:
        rows = list(csv.DictReader(file))
    for when in ("before", "after"):
        decisions = [int(row["decisions"]) for row in rows if row["calibration"] == when]
        assert sum(decisions) == truth.size
    untouched = run(calibration="none")["calibration"]
    assert read_decision().temperature == 1
    assert untouched["after"] == untouched["before"] == metrics["before"]


def test_the_same_input_gives_the_same_bytes(run):
    write_validation(*sample())
    run()
    first = [Path(p).read_bytes() for p in ("models/decision.json", "metrics/threshold.json")]
    run()
    assert first == [
        Path(p).read_bytes() for p in ("models/decision.json", "metrics/threshold.json")
    ]


def test_without_a_row_it_says_so(run):
    write_validation(*sample(0))
    with pytest.raises(UserError, match="has no row"):
        run()


def test_a_probability_on_the_threshold_counts():
    decision = Decision(LABELS, [0.5, 0.25, 1.0], "label", "micro_f1", 0)
    assert decision.apply(np.array([[0.5, 0.2, 1.0]], np.float32)).tolist() == [[True, False, True]]

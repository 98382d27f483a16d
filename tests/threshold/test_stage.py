"""Intervals, the decision, and the stage as it runs."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn import metrics as sklearn_metrics

from stages import UserError, metrics
from stages.ingest import records
from stages.ingest.records import label_lists
from stages.intervals import report
from stages.network.probabilities import (
    UNKNOWN,
    probability_table,
    read_probabilities,
    write_probabilities,
)
from stages.params import read
from stages.split import folds
from stages.threshold.__main__ import main
from stages.threshold.captions_alone import CAPTIONS_ALONE
from stages.threshold.decision import Decision, read_decision
from stages.threshold.figures import points, without_model
from stages.threshold.fit import cross_fit, find
from stages.threshold.params import Threshold
from stages.threshold.search import search
from stages.vocab import vocabulary

LABELS = ["cat", "dog", "10"]


def sample(rows: int = 200, seed: int = 0):
    random = np.random.default_rng(seed)
    truth = random.random((rows, 3)) < [0.5, 0.2, 0.05]
    scores = np.clip(truth * 0.35 + random.random((rows, 3)) * 0.6, 0, 1).astype(np.float32)
    return truth, scores


def write_validation(
    truth: np.ndarray, scores: np.ndarray, known: np.ndarray | None = None
) -> None:
    write_photos(truth)
    known = np.ones_like(truth) if known is None else known
    unknown = [row or None for row in label_lists(~known, LABELS).to_list()]
    ids = pl.Series("id", [f"{i}.jpg" for i in range(len(truth))], pl.String)
    labels, unknown = label_lists(truth & known, LABELS), pl.Series(unknown, dtype=UNKNOWN)
    write_probabilities(probability_table(ids, labels, scores, unknown), LABELS)


def write_photos(truth: np.ndarray, captions: Sequence[str | None] = (None,)) -> None:
    """Records of ``captions``, of a photo each to learn from, and of photos that validate."""
    ids = [f"{i}.jpg" for i in range(-len(captions), len(truth))]
    columns = {
        "id": ids,
        "subset": ["train"] * len(ids),
        "labels": [
            *([name for name in LABELS if name in (caption or "")] for caption in captions),
            *label_lists(truth, LABELS),
        ],
        "caption": [*captions, *(f"{' '.join(row)} seen" for row in label_lists(truth, LABELS))],
    }
    parts = ["train"] * len(captions) + ["validation"] * len(truth)
    table = pl.DataFrame(columns, schema_overrides=records.SCHEMA | records.OPTIONAL)
    others = [pl.lit(None, t).alias(n) for n, t in records.SCHEMA.items() if n not in columns]
    records.write(table.with_columns(others), LABELS)
    folds.write(
        table.select("id", fold=pl.lit(0, pl.Int32), part=pl.Series(parts, dtype=pl.String))
    )
    options = {"normalize": "none", "drop_stop_words": True, "min_count": 2, "max_words": 99}
    vocabulary.write(vocabulary.build(captions, **options, max_length=24))


@pytest.fixture
def run(params):
    def run(**changes) -> dict:
        params({f"threshold.{key}": value for key, value in changes.items()})
        main()
        return json.loads(Path("metrics/threshold.json").read_text())

    return run


@pytest.mark.parametrize("is_known", [1.0, 0.7])
def test_what_one_reaches_without_a_model(is_known: float):
    truth, _ = sample(400)
    known = np.random.default_rng(1).random(truth.shape) < is_known
    reached = []
    for count in (1, 2, 3):  # the labels are in the order of their rates
        given = np.arange(3)[None].repeat(400, axis=0) < count
        reached.append(sklearn_metrics.f1_score(truth[known], given[known]))
    best = int(np.argmax(reached))
    found = without_model(truth, known)
    assert (found["labels"], found["micro_f1"]) == (best + 1, pytest.approx(reached[best]))
    given = np.arange(3)[None].repeat(400, axis=0) <= best
    expected = points(truth, np.broadcast_to(truth.mean(axis=0), truth.shape), given, known)
    for name in ("micro_precision", "micro_recall"):
        assert found[name] == pytest.approx(expected[name])
    assert found["macro_f1"] == pytest.approx(metrics.macro_f1(truth, truth | True, known))
    constant = np.ones(truth.shape)
    ranked = metrics.mean_average_precision(truth, constant, known)
    assert found["mean_average_precision"] == pytest.approx(ranked)
    exact = [metrics.subset_accuracy(truth, (np.arange(3) < n) & (truth | True), known)
             for n in range(4)]  # fmt: skip
    assert found["subset_accuracy"] == pytest.approx(max(exact))


def test_a_network_that_has_learnt_nothing_is_named(run, capsys):
    truth, scores = sample()
    write_validation(truth, scores)
    metrics = run()
    assert metrics["without_model"]["micro_f1"] < metrics["cross_fitted"]["micro_f1"]["value"]
    assert "warning" not in capsys.readouterr().out
    assert "temperature_bound" not in metrics
    write_validation(truth, 1 - scores)
    metrics = run()
    assert metrics["without_model"]["labels"] == without_model(truth)["labels"]
    bound, nothing = capsys.readouterr().out.splitlines()
    assert metrics["temperature_bound"] == 10 and "stopped at 10, its bound" in bound
    assert f"{metrics['without_model']['micro_f1']:.3f}" in nothing


def test_figures_agree_with_scikit_learn():
    truth, scores = sample()
    predicted = scores >= 0.5
    metrics = report(truth, scores, predicted)
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


def test_cross_fitting_decides_no_row_by_a_threshold_that_saw_it(params):
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


FILES = ("models/decision.json", "metrics/threshold.json", *(
    f"metrics/threshold/{name}.csv" for name in ("curve", "labels", "reliability")
))  # fmt: skip


@pytest.mark.parametrize("scope", ["global", "label"])
def test_what_is_unknown_counts_in_no_figure(run, scope: str):
    truth, scores = sample()
    known = np.random.default_rng(3).random(truth.shape) < 0.6
    write_validation(truth, scores, known)
    metrics = run(scope=scope)
    written = [Path(file).read_bytes() for file in FILES]
    predicted = read_decision().apply(scores)
    f1 = sklearn_metrics.f1_score(truth[known], predicted[known])
    assert metrics["found"]["micro_f1"]["value"] == pytest.approx(f1, abs=1e-6)
    assert metrics["labels"]["dog"]["count"] == (truth & known)[:, 1].sum()
    assert metrics["labels"]["dog"]["known"] == known[:, 1].sum()
    loss = sklearn_metrics.log_loss(truth[known], scores[known])
    assert metrics["calibration"]["before"]["log_loss"] == pytest.approx(loss, rel=1e-4)
    with open("metrics/threshold/reliability.csv") as file:
        rows = [row for row in csv.DictReader(file) if row["calibration"] == "after"]
    assert sum(int(row["decisions"]) for row in rows) == known.sum()
    # Whatever the network says of what is unknown.
    noise = np.random.default_rng(4).random(truth.shape).astype(np.float32)
    write_validation(truth, np.where(known, scores, noise), known)
    run(scope=scope)
    assert [Path(file).read_bytes() for file in FILES] == written


@pytest.mark.parametrize("scope", ["global", "label"])
def test_the_figures_of_labels_are_of_the_same_decisions_as_the_metrics(run, scope: str):
    write_validation(*sample(60))
    written = run(scope=scope, metric="macro_f1", shrinkage=0)
    f1 = [each["f1"] for each in written["labels"].values()]
    assert np.mean(f1) == pytest.approx(written["cross_fitted"]["macro_f1"]["value"], abs=1e-6)
    assert np.mean(f1) < written["found"]["macro_f1"]["value"]  # that of the thresholds shipped
    for each in written["labels"].values():
        assert each["low"] is each["high"] is None or each["low"] <= each["f1"] <= each["high"]


def test_of_a_label_without_a_positive_there_is_nothing_to_say(run):
    truth, scores = sample()
    truth[:, 2] = False
    scores[:, 2] = 0
    write_validation(truth, scores)
    written = run()
    nothing = dict.fromkeys(("precision", "recall", "f1", "average_precision", "low", "high"))
    assert written["labels"]["10"] == {"count": 0} | nothing
    assert written["never_given"] == ["10"]
    with open("metrics/threshold/labels.csv") as file:
        last = list(csv.DictReader(file))[-1]
    assert (last["label"], last["count"], last["f1"]) == ("10", "0", "")


def test_a_plain_model_of_captions_stands_beside_the_network(run):
    truth, scores = sample(100)
    write_validation(truth, scores)
    assert "captions_alone" not in run()  # there is none to learn from
    assert len(read_probabilities(CAPTIONS_ALONE)) == 0
    # Captions of training say which label a photo carries, but for the last label's.
    write_photos(truth, ["a cat seen", "a dog seen", "cat and dog", "nothing seen", None] * 20)
    written = run()["captions_alone"]
    assert written["micro_precision"] > 0.95
    assert written["micro_recall"] == pytest.approx(truth[:, :2].sum() / truth.sum(), abs=0.02)
    assert written["mean_average_precision"] < 0.8


def test_where_all_is_known_no_count_says_so(run):
    write_validation(*sample())
    assert "known" not in run()["labels"]["dog"]


def test_shrinkage_counts_the_positives_that_are_known(params):
    truth, scores = sample()
    known = np.ones_like(truth)
    known[truth[:, 2], 2] = False
    params({"threshold.scope": "label"})
    thresholds = find(truth, scores, read(Threshold), known)
    overall = search(truth, scores, "global", "micro_f1", known)
    assert thresholds[2] == overall[2]
    assert thresholds[0] != overall[0]


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

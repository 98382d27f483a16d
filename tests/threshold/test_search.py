"""The search against trying everything, on data small enough for that."""

import itertools

import numpy as np
import pytest

from stages import metrics
from stages.threshold.search import curve, search, shrink

METRICS = {
    "micro_f1": metrics.micro_f1,
    "macro_f1": metrics.macro_f1,
    "subset_accuracy": metrics.subset_accuracy,
}


def data(seed: int, rows: int = 14, labels: int = 3, values: int = 8):
    """Truth, and float32 scores with many ties, 0 and 1 among them."""
    random = np.random.default_rng(seed)
    truth = random.random((rows, labels)) < 0.4
    noisy = truth * 0.3 + random.random((rows, labels)) * 0.7
    return truth, (np.round(noisy * values) / values).astype(np.float32)


def candidates(scores: np.ndarray) -> list[float]:
    distinct = np.unique(scores.astype(float))
    return [0.0, *((distinct[1:] + distinct[:-1]) / 2), 1.1]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("seed", range(8))
def test_global_search_is_as_good_as_trying_every_threshold(metric: str, seed: int):
    truth, scores = data(seed)
    thresholds = search(truth, scores, "global", metric)
    assert len(set(thresholds)) == 1
    best = max(METRICS[metric](truth, scores >= t) for t in candidates(scores))
    assert METRICS[metric](truth, scores.astype(float) >= thresholds) == pytest.approx(best)


@pytest.mark.parametrize("metric", ["micro_f1", "macro_f1"])
@pytest.mark.parametrize("seed", range(8))
def test_search_by_label_is_as_good_as_trying_every_combination(metric: str, seed: int):
    truth, scores = data(seed)
    columns = [candidates(scores[:, i]) for i in range(truth.shape[1])]
    best = max(
        METRICS[metric](truth, scores >= np.array(each)) for each in itertools.product(*columns)
    )
    thresholds = search(truth, scores, "label", metric)
    assert METRICS[metric](truth, scores.astype(float) >= thresholds) == pytest.approx(best)


@pytest.mark.parametrize("seed", range(8))
def test_subset_accuracy_by_label_cannot_be_improved_by_one_label(seed: int):
    truth, scores = data(seed)
    thresholds = search(truth, scores, "label", "subset_accuracy")
    reached = metrics.subset_accuracy(truth, scores.astype(float) >= thresholds)
    overall = search(truth, scores, "global", "subset_accuracy")
    assert reached >= metrics.subset_accuracy(truth, scores.astype(float) >= overall)
    for label in range(truth.shape[1]):
        for candidate in candidates(scores[:, label]):
            other = thresholds.copy()
            other[label] = candidate
            assert reached >= metrics.subset_accuracy(truth, scores.astype(float) >= other)


def mask(seed: int, shape: tuple[int, int]) -> np.ndarray:
    known = np.random.default_rng(seed + 100).random(shape) < 0.6
    known[0] = False  # of this row nothing is known
    return known


@pytest.mark.parametrize("scope", ["global", "label"])
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("seed", range(8))
def test_what_is_unknown_moves_no_threshold(scope: str, metric: str, seed: int):
    truth, scores = data(seed)
    known = mask(seed, truth.shape)
    thresholds = search(truth, scores, scope, metric, known)
    noise = np.random.default_rng(seed).random(truth.shape).astype(np.float32)
    other = np.where(known, scores, noise)
    assert search(truth ^ ~known, other, scope, metric, known).tolist() == thresholds.tolist()
    # And it is the best on what is known.
    reached = METRICS[metric](truth, scores.astype(float) >= thresholds, known)
    if scope == "label" and metric != "subset_accuracy":
        columns = [candidates(scores[known[:, i], i]) for i in range(truth.shape[1])]
        tried = itertools.product(*columns)
    else:  # found from the best global one, a label at a time
        tried = candidates(scores[known])
    best = max(METRICS[metric](truth, scores >= np.array(each), known) for each in tried)
    assert reached >= best - 1e-12


@pytest.mark.parametrize("scope", ["global", "label"])
@pytest.mark.parametrize("metric", METRICS)
def test_with_everything_known_the_thresholds_are_the_same_to_the_last_bit(scope: str, metric: str):
    truth, scores = data(0, rows=200, values=1000)
    everything = np.ones_like(truth)
    plain = search(truth, scores, scope, metric)
    assert search(truth, scores, scope, metric, everything).tolist() == plain.tolist()


def test_a_label_of_which_nothing_is_known_has_a_threshold():
    truth, scores = data(0)
    known = np.ones_like(truth)
    known[:, 1] = False
    for metric in METRICS:
        thresholds = search(truth, scores, "label", metric, known)
        assert ((thresholds >= 0) & (thresholds <= 1.1)).all()


def test_neighbouring_single_precision_scores_are_told_apart():
    low = np.float32(0.3)
    high = np.nextafter(low, np.float32(1))
    scores = np.array([[low], [high]])
    truth = np.array([[False], [True]])
    (threshold,) = search(truth, scores, "global", "micro_f1")
    assert low < threshold < high


@pytest.mark.parametrize("scope", ["global", "label"])
@pytest.mark.parametrize("metric", METRICS)
def test_nothing_true_and_everything_true(scope: str, metric: str):
    scores = np.array([[0.2, 1.0], [0.9, 0.4]], np.float32)
    everything = np.ones((2, 2), bool)
    thresholds = search(everything, scores, scope, metric)
    assert (scores >= thresholds).all()
    thresholds = search(~everything, scores, scope, "subset_accuracy")
    assert not (scores >= thresholds).any()


def test_rare_labels_go_further_toward_the_global_threshold():
    by_label, overall = np.array([0.1, 0.1, 0.1]), np.array([0.5, 0.5, 0.5])
    moved = shrink(by_label, overall, np.array([0, 20, 2000]), 20)
    assert moved == pytest.approx([0.5, 0.3, 0.1 + 0.4 * 20 / 2020])
    assert shrink(by_label, overall, np.array([0, 1, 5]), 0) == pytest.approx([0.5, 0.1, 0.1])


def test_the_curve_agrees_with_counting():
    truth, scores = data(3, rows=50)
    columns = curve(truth, scores, 11)
    for threshold, precision, recall, f1 in zip(*columns.values(), strict=True):
        predicted = scores.astype(float) >= threshold
        hits = (truth & predicted).sum()
        assert precision == pytest.approx(hits / max(predicted.sum(), 1))
        assert recall == pytest.approx(hits / truth.sum())
        assert f1 == pytest.approx(metrics.micro_f1(truth, predicted))

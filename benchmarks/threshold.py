"""The exact search for thresholds beside a grid of a hundred steps with scikit-learn.

The grid is what people write: each step decides anew and asks ``f1_score``. All steps take the
same time, so a tenth of them is timed and counted ten times. The F1 that it reaches with all of
them is compared on a tenth of the rows.
"""

import time
from collections.abc import Iterator

import numpy as np
from sklearn.metrics import f1_score

from benchmarks.samples import SEED, label_sets
from benchmarks.table import Options, Row, in_turn, main
from stages.threshold.search import search

ROWS = 1_000_000
TENTH = 10
STEPS = np.linspace(0, 1, 101)[1:]
SCOPES = {"global": "micro", "label": "macro"}  # what is searched for, and the F1 it is best for


def rows(options: Options) -> Iterator[Row]:
    if options.gpu:
        return
    truth = label_sets(options.scaled(ROWS), options.shared)
    scores = probabilities(truth)
    few, few_scores = truth[::TENTH], scores[::TENTH]
    for scope, average in SCOPES.items():

        def exactly(scope: str = scope, metric: str = f"{average}_f1") -> float:
            start = time.perf_counter()
            search(truth, scores, scope, metric)
            return time.perf_counter() - start

        def by_grid(scope: str = scope) -> float:
            start = time.perf_counter()
            grid(truth, scores, scope, STEPS[TENTH // 2 :: TENTH])
            return TENTH * (time.perf_counter() - start)

        ours, theirs = in_turn(options.repeats, exactly, by_grid)
        what = f"best {average}-F1 of {'one threshold' if scope == 'global' else 'one a label'}"
        beside = "100 steps with scikit-learn"
        size = f"{len(truth):,} × {truth.shape[1]} probabilities"
        note = "the grid: a tenth of its steps, × 10"
        yield Row(f"{what}, {size}", beside, "s", ours, theirs, "≤ 0.1", note)

        found = search(few, few_scores, scope, f"{average}_f1")
        reached = [
            f1_score(
                few, few_scores.astype(np.float64) >= thresholds, average=average, zero_division=0
            )
            for thresholds in (found, grid(few, few_scores, scope, STEPS))
        ]
        yield Row(f"{what}: F1", beside, "", reached[:1], reached[1:], "≥ 1", f"{len(few):,} rows")


def probabilities(truth: np.ndarray) -> np.ndarray:
    """Probabilities, float32, of a network that is mostly right about ``truth``."""
    logits = np.random.default_rng(SEED).standard_normal(truth.shape, np.float32) + 2 * truth - 2
    return 1 / (1 + np.exp(-1.5 * logits))


def grid(truth: np.ndarray, scores: np.ndarray, scope: str, steps: np.ndarray) -> np.ndarray:
    """The best of ``steps``, (labels,): one for all labels by micro-F1, or each by its own F1."""
    if scope == "global":
        reached = [f1_score(truth, scores >= step, average="micro") for step in steps]
        return np.full(truth.shape[1], steps[np.argmax(reached)])
    columns = zip(truth.T, scores.T, strict=True)
    return np.array(
        [
            steps[np.argmax([f1_score(true, given >= step, zero_division=0) for step in steps])]
            for true, given in columns
        ]
    )


if __name__ == "__main__":
    main(rows, __file__)

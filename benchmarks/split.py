"""How the time of a stratified split grows with the rows, beside scikit-multilearn.

Four rows of five train and the fifth validates. The package gets the same label sets, once as it
is and once with its choice of the next label put right, which splits more evenly. It is not asked
for a million rows, since its time grows with their square.
"""

import time
from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
from skmultilearn.model_selection import IterativeStratification, iterative_stratification

from benchmarks.samples import label_sets
from benchmarks.table import Options, Row, in_turn, main
from stages.split.rates import relative_gaps
from stages.split.stratify import stratify

VALIDATION = 0.2
ROWS = (10_000, 100_000, 1_000_000)
BESIDE_PACKAGE = ROWS[1]

Method = Callable[[np.ndarray, int], np.ndarray]


def rows(options: Options) -> Iterator[Row]:
    if options.gpu:
        return
    sets = {count: label_sets(options.scaled(count), options.shared) for count in ROWS}
    Timed(stratified, sets[ROWS[0]])()  # what is loaded at the first call is not counted
    for small, large in pairwise(ROWS):
        less, more = Timed(stratified, sets[small]), Timed(stratified, sets[large])
        ours, theirs = in_turn(options.repeats, more, less)
        times = len(sets[large]) / len(sets[small])
        yield Row(
            f"split of {len(sets[large]):,} rows × {sets[large].shape[1]} labels",
            f"{times:.0f} × that of {len(sets[small]):,}",
            "s",
            ours,
            [times * seconds for seconds in theirs],
            "≤ 1.2",
        )
    for name, method in PACKAGE.items():
        tagloom, package = (Timed(each, sets[BESIDE_PACKAGE]) for each in (stratified, method))
        ours, theirs = in_turn(options.repeats, tagloom, package)
        what = f"split of {len(sets[BESIDE_PACKAGE]):,} rows"
        yield Row(what, name, "s", ours, theirs, "≤ 0.02")
        what += ": largest relative gap of a label"
        yield Row(what, name, "%", [100 * tagloom.gap], [100 * package.gap], "≤ 1")


class Timed:
    """Splits the same rows each time, and returns the seconds it took.

    Attributes:
        gap: of the last split, the largest relative gap of a label's rate.
    """

    def __init__(self, method: Method, labels: np.ndarray) -> None:
        self.method, self.labels = method, labels
        self.gap = float("nan")

    def __call__(self) -> float:
        size = round(len(self.labels) * VALIDATION)
        start = time.perf_counter()
        validation = self.method(self.labels, size)
        seconds = time.perf_counter() - start
        self.gap = relative_gaps(self.labels, validation).max()
        return seconds


def stratified(labels: np.ndarray, size: int) -> np.ndarray:
    return stratify(labels, np.array([size, len(labels) - size]), seed=7) == 0


def package(labels: np.ndarray, size: int) -> np.ndarray:
    fraction = size / len(labels)
    stratifier = IterativeStratification(
        2, order=1, sample_distribution_per_fold=[fraction, 1 - fraction]
    )
    np.random.seed(7)
    _, chosen = next(stratifier.split(labels, labels.astype(np.int8)))
    validation = np.zeros(len(labels), bool)
    validation[chosen] = True
    return validation


def package_rarest_first(labels: np.ndarray, size: int) -> np.ndarray:
    kept = iterative_stratification._get_most_desired_combination
    iterative_stratification._get_most_desired_combination = rarest
    try:
        return package(labels, size)
    finally:
        iterative_stratification._get_most_desired_combination = kept


def rarest(samples_with_combination: dict[tuple[int], list[int]]) -> tuple[int] | None:
    left = {label: len(rows) for label, rows in samples_with_combination.items() if rows}
    return min(left, key=left.get, default=None)


PACKAGE = {
    "scikit-multilearn": package,
    "scikit-multilearn, rarest label first": package_rarest_first,
}


if __name__ == "__main__":
    main(rows, __file__)

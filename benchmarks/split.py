"""How the time of a stratified split grows with the rows, beside scikit-multilearn.

``python -m benchmarks.split`` splits 80/20. The label sets are drawn from those of coco18 where
the environment variable ``TAGLOOM_SHARED`` names the folder it lies in, else made up. The package
gets all rows, once as it is and once with its choice of the next label put right; it is run up to
``--package`` rows, since its time grows with their square.
"""

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from skmultilearn.model_selection import IterativeStratification, iterative_stratification

from stages.ingest.sources.kaggle_csv import parse
from stages.split.stratify import relative_gaps, smallest_gaps, stratify

VALIDATION = 0.2


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.split", description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--package", type=int, default=100_000, metavar="ROWS")
    options = parser.parse_args()
    patterns, source = label_sets()
    print(f"label sets: {source}; {VALIDATION:.0%} validation; gap: the largest of a label")
    print("growth: against the row count before; ratio: tagloom's seconds by the package's\n")
    show("rows", "split", "seconds", "growth", "gap", "ratio")
    stratified(patterns[:1000], 200)  # what is loaded at the first call is not counted
    before = None
    for rows in options.rows:
        random = np.random.default_rng(7)
        labels = patterns
        if rows != len(patterns):
            labels = patterns[random.integers(0, len(patterns), rows)]
        size = round(rows * VALIDATION)
        ours, validation = timed(stratified, labels, size)
        growth = f"{ours / before:.1f}" if before else ""
        show(rows, "tagloom", f"{ours:.3f}", growth, largest(relative_gaps(labels, validation)))
        show(rows, "smallest possible", "", "", largest(smallest_gaps(labels, validation)))
        by_chance = relative_gaps(labels, random.permutation(validation))
        show(rows, "random", "", "", largest(by_chance))
        for name, method in PACKAGE.items() if rows <= options.package else ():
            seconds, validation = timed(method, labels, size)
            gap = largest(relative_gaps(labels, validation))
            show(rows, name, f"{seconds:.3f}", "", gap, f"{ours / seconds:.4f}")
        before = ours


def label_sets() -> tuple[np.ndarray, str]:
    """Label sets to draw from, bool (rows, 18), and what they are."""
    if folder := os.environ.get("TAGLOOM_SHARED"):
        _, records = parse((Path(folder) / "coco18" / "train.csv").read_text("utf-8"))
        sets = [set(fields[1].split()) for _, fields in records]
        names = sorted(set.union(*sets))
        return np.array([[name in labels for name in names] for labels in sets]), "coco18"
    # A person on three photos of four; the rest rare, and most photos with one or two of them.
    rates = np.array([0.75, *0.3 / np.arange(2, 19)])
    return np.random.default_rng(7).random((10_000, 18)) < rates, "made up"


def stratified(labels: np.ndarray, size: int) -> np.ndarray:
    return stratify(labels, np.array([size, len(labels) - size]), seed=7) == 0


def package(labels: np.ndarray, size: int) -> np.ndarray:
    fraction = size / len(labels)
    stratifier = IterativeStratification(
        2, order=1, sample_distribution_per_fold=[fraction, 1 - fraction]
    )
    np.random.seed(7)
    _, rows = next(stratifier.split(labels, labels.astype(np.int8)))
    validation = np.zeros(len(labels), bool)
    validation[rows] = True
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
    "scikit-multilearn, rarest": package_rarest_first,
}


def timed(
    method: Callable[[np.ndarray, int], np.ndarray], labels: np.ndarray, size: int
) -> tuple[float, np.ndarray]:
    start = time.perf_counter()
    validation = method(labels, size)
    return time.perf_counter() - start, validation


def largest(gaps: np.ndarray) -> str:
    return f"{gaps.max():.5f}"


def show(rows: int | str, *cells: str) -> None:
    rows = f"{rows:,}" if isinstance(rows, int) else rows
    print(f"{rows:>9}  {cells[0]:<26}", *(f"{cell:>9}" for cell in cells[1:]))


if __name__ == "__main__":
    main()

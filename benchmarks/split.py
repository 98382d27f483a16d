"""How the time of a stratified split grows with the rows, beside scikit-multilearn.

Four rows of five train and the fifth validates. The package gets the same label sets, once as it
is and once with its choice of the next label put right, which splits more evenly. It is not asked
for a million rows, since its time grows with their square.

Groups are of ten rows on average, whose label sets are much alike: half of them are the group's.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
from skmultilearn.model_selection import IterativeStratification, iterative_stratification

from benchmarks.memory import peak
from benchmarks.samples import label_sets
from benchmarks.table import Options, Row, in_turn, main
from benchmarks.workspace import ROOT
from stages.ingest import records
from stages.split.rates import relative_gaps, smallest_gaps
from stages.split.stratify import stratify

VALIDATION = 0.2
ROWS = (10_000, 100_000, 1_000_000)
BESIDE_PACKAGE = ROWS[1]
GROUP = 10  # rows, on average

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
    yield from with_groups(sets[ROWS[-1]], options)


def with_groups(labels: np.ndarray, options: Options) -> Iterator[Row]:
    """Rows of the same label sets in groups, beside those without."""
    random = np.random.default_rng(7)
    drawn = random.integers(len(labels) // GROUP, size=len(labels))
    _, first, groups = np.unique(drawn, return_index=True, return_inverse=True)
    labels = np.where(random.random(len(labels))[:, None] < 0.5, labels[first][groups], labels)
    what, beside = f"split of {len(labels):,} rows in {len(first):,} groups", "without groups"
    grouped = Timed(lambda rows, size: stratified(rows, size, groups), labels)
    times = in_turn(options.repeats, grouped, Timed(stratified, labels))
    yield Row(what, beside, "s", *times, "≤ 3")
    least = smallest_gaps(labels, grouped.validation, units=groups).max()
    gap = f"{what}: largest relative gap of a label"
    bound = "that no split with these groups undercuts"
    yield Row(gap, bound, "%", [100 * grouped.gap], [100 * least])
    with tempfile.TemporaryDirectory(prefix="tagloom-") as folder:
        stage = Stage(Path(folder, "grouped"), labels, groups)
        single = Stage(Path(folder, "single"), labels, None)
        times = in_turn(options.repeats, stage, single)
    yield Row(f"the stage, {what}", beside, "s", *times, "≤ 3", "start-up and all")
    most, single_most = (each.most / 2**20 for each in (stage, single))
    yield Row(f"memory of the stage, {what}", beside, "MB", [most], [single_most])


class Stage:
    """Runs ``split`` on records of these rows, and returns the seconds, start-up and all.

    Attributes:
        most: memory that it has held at the most, in bytes.
    """

    def __init__(self, folder: Path, labels: np.ndarray, groups: np.ndarray | None) -> None:
        self.folder, self.most = folder, 0
        (folder / "data").mkdir(parents=True)
        shutil.copy(ROOT / "params.yaml", folder)
        names = [f"label {number:02}" for number in range(labels.shape[1])]
        ids = pl.select(id=pl.format("{}.jpg", pl.int_range(len(labels))))
        table = ids.with_columns(
            pl.lit("train").alias("subset"),
            records.label_lists(labels, names),
            pl.lit(None, pl.String).alias("caption"),
            *(pl.lit(0, pl.Int32).alias(name) for name in ("width", "height", "image", "delivery")),
            pl.col("id").hash(seed=1).cast(pl.String).str.pad_end(64, "0").alias("sha256"),
            pl.col("id").hash(seed=2).alias("dhash"),
            **({} if groups is None else {"group": pl.Series(groups).cast(pl.String)}),
        )
        records.write(table, names, folder / records.RECORDS)

    def __call__(self) -> float:
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "stages.split"],
            cwd=self.folder,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
        )
        self.most = max(self.most, peak(process))
        return time.perf_counter() - start


class Timed:
    """Splits the same rows each time, and returns the seconds it took.

    Attributes:
        validation: of the last split, bool (rows,).
        gap: of the last split, the largest relative gap of a label's rate.
    """

    def __init__(self, method: Method, labels: np.ndarray) -> None:
        self.method, self.labels = method, labels
        self.validation = np.zeros(len(labels), bool)
        self.gap = float("nan")

    def __call__(self) -> float:
        size = round(len(self.labels) * VALIDATION)
        start = time.perf_counter()
        self.validation = self.method(self.labels, size)
        seconds = time.perf_counter() - start
        self.gap = relative_gaps(self.labels, self.validation).max()
        return seconds


def stratified(labels: np.ndarray, size: int, groups: np.ndarray | None = None) -> np.ndarray:
    return stratify(labels, np.array([size, len(labels) - size]), 7, groups) == 0


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

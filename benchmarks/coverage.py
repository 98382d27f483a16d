"""How often 95 % intervals hold the truth: datasets drawn from a population that is known.

``python -m benchmarks.coverage`` prints the table of docs/results.md in minutes on one core. Each
column is a kind of dataset, drawn anew ``--simulations`` times; a cell says in how many of 100
datasets with an interval it held the population's value, and how wide it was on average. In
brackets stands how many of 100 datasets had one, where not all had; "–": none.

Labels depend on each other through topics, scores of one photo are shifted together, and some of
what is certain is wrong. Rates of labels fall as those of words do (Zipf), or are all alike.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.stats import norm

from stages.intervals import Figure, f1_by_label, paired_gain, report
from stages.metrics import ratio

GAINS = ("micro_f1", "macro_f1", "subset_accuracy", "mean_average_precision")
OF_LABEL = "f1 of a label"
MOST_FREQUENT = 0.6  # rate of a label
TOPICS, OF_TOPICS, OF_PHOTO = 3, 0.4, 0.3  # shares of variance: of labels, and of scores
ERRORS = 0.2  # scores as those of positives have, for each positive
DRAWN = 100_000  # photos, for what only drawing tells of the population


@dataclass(frozen=True)
class Setting:
    """A kind of dataset.

    Attributes:
        positives: expected of the label in the middle.
        tail: by which power of its place a label's rate falls; 0: all alike.
        better: the share by which the second answer tells labels better apart.
        knows: how well the answers tell labels apart, as a share of what others do.
    """

    photos: int
    labels: int
    positives: float
    tail: float = 0.8
    better: float = 0.1
    knows: float = 1.0

    def __str__(self) -> str:
        tail = "" if self.tail else ", all alike"
        weak = "" if self.knows == 1 else ", weak"
        return f"{self.photos:,} × {self.labels}, {self.positives:g}{tail}{weak}"


SETTINGS = (
    Setting(20, 10, 4),
    Setting(100, 10, 10),
    Setting(400, 20, 4),
    Setting(400, 20, 16),
    Setting(500, 40, 2, tail=0),
    Setting(500, 40, 8, tail=0),
    Setting(500, 40, 40, tail=0),
    Setting(500, 40, 160, tail=0),
    Setting(100, 10, 10, knows=0.4),
    Setting(500, 40, 12, tail=0, knows=0.4),
    Setting(1000, 80, 16),
)


class Population:
    """Photos with labels, and two answers to them: scores, and a threshold a label.

    A label's scores are standard normal where it is absent, ``separation`` higher where it holds.
    """

    def __init__(self, setting: Setting) -> None:
        random = np.random.default_rng(7)
        rates = np.arange(1.0, setting.labels + 1) ** -setting.tail
        rates *= setting.positives / setting.photos / np.median(rates)
        self.rates = np.minimum(rates, MOST_FREQUENT)
        self.errors = ERRORS * self.rates / (1 - self.rates)
        topics = random.normal(size=(TOPICS, setting.labels))
        self._topics = topics / np.linalg.norm(topics, axis=0)
        # Rare labels are told apart by more, or hardly any answer about them would be right.
        rarity = norm.isf(self.rates) - 1.5
        first = np.clip(random.normal(2, 0.7, setting.labels), 0.5, 4) + rarity / 2
        first *= setting.knows
        self.separations = (first, first * (1 + setting.better))
        self.thresholds = [0.5 * each + 0.75 for each in self.separations]

    def draw(
        self, photos: int, random: np.random.Generator
    ) -> tuple[np.ndarray, list[tuple[np.ndarray, np.ndarray]]]:
        """Truth, bool, and two answers, scores and decisions: all (photos, labels)."""
        shape = (photos, len(self.rates))
        topics = random.normal(size=(photos, TOPICS)) @ self._topics
        drawn = np.sqrt(OF_TOPICS) * topics + np.sqrt(1 - OF_TOPICS) * random.normal(size=shape)
        truth = drawn > norm.isf(self.rates)
        found = truth | (random.random(shape) < self.errors)
        of_photo, common = random.normal(size=(photos, 1)), random.normal(size=shape)
        answers = []
        for separation, threshold in zip(self.separations, self.thresholds, strict=True):
            own = (common + random.normal(size=shape)) / np.sqrt(2)
            noise = np.sqrt(OF_PHOTO) * of_photo + np.sqrt(1 - OF_PHOTO) * own
            scores = noise + separation * found
            answers.append((scores, scores >= threshold))
        return truth, answers

    @cached_property
    def values(self) -> list[dict[str, np.ndarray]]:
        """Of each answer, each metric in the population; that of labels is (labels,)."""
        exact = self._exact_rows()
        return [
            self._rates(*each) | {"subset_accuracy": right}
            for *each, right in zip(self.separations, self.thresholds, exact, strict=True)
        ]

    def _exact_rows(self) -> np.ndarray:
        random, right, batch = np.random.default_rng(8), np.zeros(2), 10_000
        for _ in range(DRAWN // batch):
            truth, answers = self.draw(batch, random)
            right += [(truth == decided).all(axis=1).sum() for _, decided in answers]
        return right / DRAWN

    def _rates(self, separation: np.ndarray, threshold: np.ndarray) -> dict[str, np.ndarray]:
        found, wrong = self._found(separation, threshold)
        hits, false, missed = self.rates * found, (1 - self.rates) * wrong, self.rates * (1 - found)
        values = {"hamming_loss": (false + missed).mean()}
        for name, parts, errors in (
            ("precision", hits, false),
            ("recall", hits, missed),
            ("f1", 2 * hits, false + missed),
        ):
            values[f"micro_{name}"] = parts.sum() / (parts + errors).sum()
            values[f"macro_{name}"] = ratio(parts, parts + errors).mean()
        # Average precision is the precision at the score of a positive, on average.
        grid = np.linspace(-8, 8, 4001)[:, None]
        weights = norm.pdf(grid) / norm.pdf(grid).sum()
        found_at, wrong_at = self._found(separation, grid + separation)
        hits_at = self.rates * found_at
        precision = hits_at / (hits_at + (1 - self.rates) * wrong_at)
        values["mean_average_precision"] = (weights * precision).sum(axis=0).mean()
        return values | {OF_LABEL: 2 * hits / (2 * hits + false + missed)}

    def _found(self, separation: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What shares of positives and of negatives have at least the score."""
        positive = norm.sf(scores - separation)
        return positive, self.errors * positive + (1 - self.errors) * norm.sf(scores)


class Coverage:
    """How often intervals are there, hold the truth, and how wide they are."""

    def __init__(self) -> None:
        self.asked = self.shown = self.held = 0
        self.width = 0.0

    def add(self, figure: Figure, truth: float) -> None:
        self.asked += 1
        low, high = figure["low"], figure["high"]
        if low is not None and high is not None:
            self.shown += 1
            self.held += low <= truth <= high
            self.width += high - low

    def __str__(self) -> str:
        if self.shown < self.asked / 20:
            return "–"
        shown = "" if self.shown == self.asked else f" [{self.shown / self.asked:.0%}]"
        return f"{100 * self.held / self.shown:.1f} ({self.width / self.shown:.3f}){shown}"


def measure(setting: Setting, simulations: int, seed: int) -> dict[str, Coverage]:
    """The coverage of each metric, of a label's F1 and of gains."""
    population, random = Population(setting), np.random.default_rng(seed)
    found: dict[str, Coverage] = {}
    for _ in range(simulations):
        for name, figure, truth in figures(population, *population.draw(setting.photos, random)):
            found.setdefault(name, Coverage()).add(figure, truth)
    return found


def figures(
    population: Population, truth: np.ndarray, answers: list[tuple[np.ndarray, np.ndarray]]
) -> Iterator[tuple[str, Figure, float]]:
    """Names, what is said of a dataset, and what is true in the population."""
    (scores, decided), values = answers[0], population.values
    for name, figure in report(truth, scores, decided).items():
        yield name, figure, values[0][name]
    for figure, value in zip(f1_by_label(truth, decided), values[0][OF_LABEL], strict=True):
        yield OF_LABEL, figure, value
    for name in GAINS:
        gain = values[1][name] - values[0][name]
        yield f"gain in {name}", paired_gain(truth, *answers, name), gain


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coverage")
    parser.add_argument("--simulations", type=int, default=400, help="datasets of each kind")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    start = time.perf_counter()
    columns = {}
    for setting in SETTINGS:
        columns[setting] = measure(setting, options.simulations, options.seed)
        print(f"{setting}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    print(table(columns))


def table(columns: dict[Setting, dict[str, Coverage]]) -> str:
    """A row a metric, a column a kind of dataset, in Markdown."""
    header, rule = " | ".join(map(str, columns)), "---|" * len(columns)
    names = next(iter(columns.values()))
    rows = [
        f"| {name.replace('_', ' ').replace('f1', 'F1')} | "
        + " | ".join(str(column[name]) for column in columns.values())
        for name in names
    ]
    return "\n".join([f"| | {header} |", f"|---|{rule}", *(f"{row} |" for row in rows)])


if __name__ == "__main__":
    main()

"""Two models' answers to the same photos, counted as they come."""

import heapq
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from stages import metrics
from stages.intervals import paired_gain

SAMPLES, SEED = 1000, 7  # of the paired bootstrap


class Difference(NamedTuple):
    """A label of a photo, and its probability by both."""

    size: float
    photo: str
    label: str
    one: float
    other: float


class Quality(NamedTuple):
    """Micro-F1 over the labels that both know, and by how much the other's is above one's.

    Attributes:
        photos: whose labels are known.
        gain: ``value``, ``low`` and ``high`` of its 95 % interval, on the same photos drawn.
        strange: labels that the photos carry and not both models know.
    """

    photos: int
    one: float
    other: float
    gain: dict[str, float]
    strange: list[str]


class Comparison:
    """Adds up what ``one`` and ``other`` say.

    Memory does not grow with the photos, but for those whose labels are known: a byte a label.

    Args:
        one, other: the labels of both models.
        most: how many differences to keep.

    Attributes:
        photos, alike: how many there were, and to how many both give the same of the labels that
            both know.
        shared: the labels that both know.
        counts: int, (2, labels): on how many photos each says a label that both know.
        both: int, (labels,): on how many both say it.
        own: by model, on how many photos it says each of the labels that only it knows.
    """

    def __init__(self, one: list[str], other: list[str], most: int) -> None:
        self.shared = [label for label in one if label in set(other)]
        self._labels, self._most = (one, other), most
        self._places = [
            np.array([of.index(label) for label in self.shared], int) for of in self._labels
        ]
        self.photos = self.alike = 0
        self.counts = np.zeros((2, len(self.shared)), int)
        self.both = np.zeros(len(self.shared), int)
        self.own = [
            dict.fromkeys((label for label in of if label not in self.shared), 0)
            for of in self._labels
        ]
        self._differences: list[Difference] = []
        self._truth: list[np.ndarray] = []
        self._answers: list[list[tuple[np.ndarray, np.ndarray]]] = []
        self._strange: set[str] = set()

    def add(
        self,
        names: Sequence[str],
        truth: Sequence[list[str] | None],
        answers: Sequence[tuple[np.ndarray, np.ndarray]],
    ) -> None:
        """Adds n photos.

        Args:
            truth: the labels that each carries; None: not known.
            answers: of both models, probabilities float32 and what holds bool, (n, its labels).
        """
        shared = [
            (found[:, places], holds[:, places])
            for (found, holds), places in zip(answers, self._places, strict=True)
        ]
        (one, one_holds), (other, other_holds) = shared
        self.photos += len(names)
        self.alike += int((one_holds == other_holds).all(axis=1).sum())
        self.counts += [one_holds.sum(axis=0), other_holds.sum(axis=0)]
        self.both += (one_holds & other_holds).sum(axis=0)
        for (_, holds), labels, own in zip(answers, self._labels, self.own, strict=True):
            for label in own:
                own[label] += int(holds[:, labels.index(label)].sum())
        self._keep_differences(names, one, other)
        self._keep_known(truth, shared)

    def _keep_differences(self, names: Sequence[str], one: np.ndarray, other: np.ndarray) -> None:
        sizes = np.abs(one - other)
        largest = np.argsort(-sizes, axis=None, kind="stable")[: self._most]
        for row, label in zip(*np.unravel_index(largest, sizes.shape), strict=True):
            if sizes[row, label] > 0:
                size, *probabilities = (float(each[row, label]) for each in (sizes, one, other))
                self._differences.append(
                    Difference(size, names[row], self.shared[label], *probabilities)
                )
        self._differences = heapq.nlargest(
            self._most, self._differences, key=lambda each: each.size
        )

    def _keep_known(
        self, truth: Sequence[list[str] | None], shared: list[tuple[np.ndarray, np.ndarray]]
    ) -> None:
        known = [row for row, labels in enumerate(truth) if labels is not None]
        if not known:
            return
        self._strange.update(*(set(truth[row]) - set(self.shared) for row in known))
        self._truth.append(
            np.array([[label in truth[row] for label in self.shared] for row in known], bool)
        )
        self._answers.append([(found[known], holds[known]) for found, holds in shared])

    @property
    def differences(self) -> list[Difference]:
        """The largest ones, the largest first."""
        return self._differences

    def quality(self) -> Quality | None:
        """How good both are; None where no photo's labels are known, or both know no label."""
        if not self._truth or not self.shared:
            return None
        truth = np.concatenate(self._truth)
        one, other = (
            tuple(
                np.concatenate([batch[model][part] for batch in self._answers]) for part in (0, 1)
            )
            for model in (0, 1)
        )
        return Quality(
            len(truth),
            metrics.micro_f1(truth, one[1]),
            metrics.micro_f1(truth, other[1]),
            paired_gain(truth, one, other, "micro_f1", SAMPLES, SEED),
            sorted(self._strange),
        )

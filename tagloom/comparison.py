"""Two models' answers to the same photos, counted as they come."""

import heapq
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from stages import metrics
from stages.intervals import Figure, paired_gain


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
        gain: with its 95 % interval, which is of photos: both answered the same ones.
        unshared: labels that the photos carry and not both models know.
    """

    photos: int
    one: float
    other: float
    gain: Figure
    unshared: list[str]


class Comparison:
    """Adds up the answers of two models, ``one`` and ``other``, batch by batch.

    Memory grows only with the photos whose labels are known.

    Args:
        one, other: the labels of both models.
        most: how many differences to keep.

    Attributes:
        shared: the labels that both know.
        photos, alike: how many there were, and to how many both give the same shared labels.
        counts: int (2, shared labels): to how many photos each gives the label.
        both: int (shared labels,): to how many both give it.
        unshared: by model, to how many photos it gives each label that only it knows.
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
        self.unshared = [
            dict.fromkeys((label for label in of if label not in self.shared), 0)
            for of in self._labels
        ]
        self._differences: list[Difference] = []
        self._truth: list[np.ndarray] = []
        self._known: list[np.ndarray] = []
        self._answers: list[list[tuple[np.ndarray, np.ndarray]]] = []
        self._unshared: set[str] = set()

    def add(
        self,
        names: Sequence[str],
        truth: Sequence[list[str] | None],
        unknown: Sequence[list[str] | None],
        answers: Sequence[tuple[np.ndarray, np.ndarray]],
    ) -> None:
        """Adds n photos.

        Args:
            truth: the labels that each carries; None: not known.
            unknown: further labels, of which it is not known whether each carries them.
            answers: of each model, probabilities, float32, and what holds, bool: both (n, labels).
        """
        shared = [
            (probabilities[:, places], holds[:, places])
            for (probabilities, holds), places in zip(answers, self._places, strict=True)
        ]
        (one, one_holds), (other, other_holds) = shared
        self.photos += len(names)
        self.alike += int((one_holds == other_holds).all(axis=1).sum())
        self.counts += [one_holds.sum(axis=0), other_holds.sum(axis=0)]
        self.both += (one_holds & other_holds).sum(axis=0)
        for (_, holds), labels, counts in zip(answers, self._labels, self.unshared, strict=True):
            for label in counts:
                counts[label] += int(holds[:, labels.index(label)].sum())
        self._keep_differences(names, one, other)
        self._keep_known(truth, unknown, shared)

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
        self,
        truth: Sequence[list[str] | None],
        unknown: Sequence[list[str] | None],
        shared: list[tuple[np.ndarray, np.ndarray]],
    ) -> None:
        known = {row: labels for row, labels in enumerate(truth) if labels is not None}
        if not known:
            return
        rows = list(known)
        self._unshared.update(*(set(labels) - set(self.shared) for labels in known.values()))
        self._truth.append(self._matrix(known.values()))
        self._known.append(~self._matrix(unknown[row] or () for row in rows))
        self._answers.append(
            [(probabilities[rows], holds[rows]) for probabilities, holds in shared]
        )

    def _matrix(self, lists: Iterable[Sequence[str]]) -> np.ndarray:
        """bool (lists, shared labels)."""
        return np.array([[label in each for label in self.shared] for each in lists], bool)

    @property
    def differences(self) -> list[Difference]:
        """The largest ones, the largest first."""
        return self._differences

    def quality(self) -> Quality | None:
        """How good both are; None where no photo's labels are known, or both know no label."""
        if not any(known.any() for known in self._known):
            return None
        truth, known = np.concatenate(self._truth), np.concatenate(self._known)
        one, other = self._known_answers(0), self._known_answers(1)
        return Quality(
            int(known.any(axis=1).sum()),
            metrics.micro_f1(truth, one[1], known),
            metrics.micro_f1(truth, other[1], known),
            paired_gain(truth, one, other, "micro_f1", known),
            sorted(self._unshared),
        )

    def _known_answers(self, model: int) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities and what holds, of the photos whose labels are known."""
        probabilities, holds = zip(*(batch[model] for batch in self._answers), strict=True)
        return np.concatenate(probabilities), np.concatenate(holds)

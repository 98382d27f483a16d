"""The examples of each label with all that the page shows of them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from stages.report import pictures
from stages.report.example_choice import KINDS
from stages.report.explanations import Explanations
from stages.report.validation import Validation
from stages.words import Segmentation, words_of

FULL_EFFECT = 4.0  # of a word on the logit: the mark's darkest
LEAST_EFFECT = 0.5  # a word that does less is not marked


@dataclass(frozen=True)
class PhotoLabel:
    """A label that a photo carries, or that the network gave it, or both.

    Attributes:
        known: whether it is known that the photo carries it, or not.
    """

    label: str
    probability: float
    true: bool
    predicted: bool
    known: bool


@dataclass(frozen=True)
class Example:
    """A photo that is shown of a label.

    Attributes:
        image: its row in the image store.
        id: of the photo.
        width, height: of the photo as it came, in pixels.
        probability: of the label.
        labels: those it carries, or was given; the most probable first.
        caption: pieces of text, each with the strength of its mark from 0, none, to 1; None: it
            has none.
        heat: its heat map for the label, a data URI; None: there is none.
    """

    image: int
    id: str
    width: int
    height: int
    probability: float
    labels: list[PhotoLabel]
    caption: list[tuple[str, float]] | None
    heat: str | None


@dataclass(frozen=True)
class LabelExamples:
    """A label's examples, and how often the label was right.

    Attributes:
        label: its name.
        threshold: of its probability.
        carried: how many photos carry it.
        found: on how many of those it was found.
        others: how many photos do not carry it.
        wrong: on how many of those it was found.
        unknown: of how many photos it is not known whether they carry it.
        kinds: the examples of each of ``example_choice.KINDS``.
    """

    label: str
    threshold: float
    carried: int
    found: int
    others: int
    wrong: int
    unknown: int
    kinds: dict[str, list[Example]]


def examples_by_label(
    explanations: Explanations, validation: Validation
) -> Iterator[LabelExamples]:
    """The examples of ``explanations``, label after label in the order that they have there."""
    numbered = explanations.examples.with_row_index("number")
    for (label,), examples in numbered.group_by("label", maintain_order=True):
        kinds: dict[str, list[Example]] = {kind: [] for kind in KINDS}
        for number, _, kind, row in examples.iter_rows():
            kinds[kind].append(_example(number, row, label, explanations, validation))
        known = validation.known[:, label]
        truth, predicted = validation.truth[known, label], validation.predicted[known, label]
        right = int((truth & predicted).sum())
        yield LabelExamples(
            label=validation.names[label],
            threshold=validation.thresholds[label],
            carried=int(truth.sum()),
            found=right,
            others=int((~truth).sum()),
            wrong=int(predicted.sum()) - right,
            unknown=int((~known).sum()),
            kinds=kinds,
        )


def _example(
    number: int, row: int, label: int, explanations: Explanations, validation: Validation
) -> Example:
    photo = validation.photos.row(row, named=True)
    caption, heat_map = photo["caption"], None
    pieces = None if caption is None else [(caption, 0.0)] * bool(caption)
    if caption is not None and explanations.words is not None:
        effects = explanations.words.of_caption(row, label)
        pieces = marked(caption, effects, explanations.words.segmentation)
    if explanations.photos is not None:
        heat_map = pictures.heat_map(explanations.photos.heat_maps[number])
    return Example(
        image=photo["image"],
        id=photo["id"],
        width=photo["width"],
        height=photo["height"],
        probability=float(validation.probabilities[row, label]),
        labels=labels_of(row, validation),
        caption=pieces,
        heat=heat_map,
    )


def labels_of(row: int, validation: Validation) -> list[PhotoLabel]:
    """The labels that a photo carries or was given, the most probable first."""
    known, predicted = validation.known[row], validation.predicted[row]
    truth, probabilities = validation.truth[row] & known, validation.probabilities[row]
    shown = np.flatnonzero(truth | predicted)
    return [
        PhotoLabel(
            validation.names[label],
            float(probabilities[label]),
            bool(truth[label]),
            bool(predicted[label]),
            bool(known[label]),
        )
        for label in shown[np.argsort(-probabilities[shown], kind="stable")]
    ]


def marked(
    caption: str, effects: Mapping[str, float], segmentation: Segmentation = "letters"
) -> list[tuple[str, float]]:
    """The caption in pieces, each with how strongly it is to be marked, from 0 to 1.

    >>> marked("A red dog", {"dog": 2.0, "red": 0.1})
    [('A red ', 0.0), ('dog', 0.5)]
    """
    pieces: list[tuple[str, float]] = []
    end = 0
    for word in words_of(caption, segmentation):
        effect = effects.get(word.text, 0.0)
        if effect >= LEAST_EFFECT:
            pieces += [(caption[end : word.start], 0.0)] * (end < word.start)
            pieces.append((caption[word.start : word.end], min(effect / FULL_EFFECT, 1.0)))
            end = word.end
    return pieces + [(caption[end:], 0.0)] * (end < len(caption))

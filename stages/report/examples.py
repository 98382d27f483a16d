"""The photos that are shown of each label, with all that is said of them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from stages.explain.word_effects import LETTERS
from stages.report import example_choice, pictures
from stages.report.explanations import Findings
from stages.report.validation import Validation

FULL_EFFECT = 4.0  # of a word on the logit: the mark's darkest
LEAST_EFFECT = 0.5  # a word that does less is not marked


@dataclass(frozen=True)
class Said:
    """A label of a photo: true, predicted or both."""

    label: str
    probability: float
    true: bool
    predicted: bool


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
        heat: a data URI of what speaks for the label; None: not known.
    """

    image: int
    id: str
    width: int
    height: int
    probability: float
    labels: list[Said]
    caption: list[tuple[str, float]] | None
    heat: str | None


@dataclass(frozen=True)
class OfLabel:
    """What is shown of a label: examples by ``choice.KINDS``, and how often it was right.

    ``found`` of ``carried`` photos that carry it were found, and ``wrong`` of ``others``.
    """

    label: str
    threshold: float
    found: int
    carried: int
    wrong: int
    others: int
    kinds: dict[str, list[Example]]


def of_labels(found: Findings, validation: Validation) -> Iterator[OfLabel]:
    """The labels in the order of the places."""
    numbered = found.places.with_row_index("place")
    for (label,), places in numbered.group_by("label", maintain_order=True):
        kinds: dict[str, list[Example]] = {kind: [] for kind in example_choice.KINDS}
        for place, kind, row in places.select("place", "kind", "row").iter_rows():
            kinds[kind].append(_example(place, row, label, found, validation))
        truth, predicted = validation.truth[:, label], validation.predicted[:, label]
        hits = int((truth & predicted).sum())
        yield OfLabel(
            label=validation.names[label],
            threshold=validation.thresholds[label],
            found=hits,
            carried=int(truth.sum()),
            wrong=int(predicted.sum()) - hits,
            others=int((~truth).sum()),
            kinds=kinds,
        )


def _example(place: int, row: int, label: int, found: Findings, validation: Validation) -> Example:
    id, _, image, caption, width, height = validation.photos.row(row)
    effects = found.reading.words(row, label) if found.reading is not None else {}
    heat = found.looks.heat[place] if found.looks is not None else None
    return Example(
        image=image,
        id=id,
        width=width,
        height=height,
        probability=float(validation.probabilities[row, label]),
        labels=said(validation, row),
        caption=None if caption is None else marked(caption, effects),
        heat=None if heat is None else pictures.heat_map(heat),
    )


def said(validation: Validation, row: int) -> list[Said]:
    """The labels that a photo carries or was given, the most probable first."""
    truth, predicted = validation.truth[row], validation.predicted[row]
    scores = validation.probabilities[row]
    shown = np.flatnonzero(truth | predicted)
    return [
        Said(
            validation.names[label],
            float(scores[label]),
            bool(truth[label]),
            bool(predicted[label]),
        )
        for label in shown[np.argsort(-scores[shown], kind="stable")]
    ]


def marked(caption: str, effects: Mapping[str, float]) -> list[tuple[str, float]]:
    """The caption in pieces, each with how strongly it is to be marked, from 0 to 1.

    >>> marked("A red dog", {"dog": 2.0, "red": 0.1})
    [('A red ', 0.0), ('dog', 0.5)]
    """
    pieces: list[tuple[str, float]] = []
    end = 0
    for word in LETTERS.finditer(caption):
        effect = effects.get(word[0].lower(), 0.0)
        if effect >= LEAST_EFFECT:
            pieces += [(caption[end : word.start()], 0.0)] * (end < word.start())
            pieces.append((word[0], min(effect / FULL_EFFECT, 1.0)))
            end = word.end()
    return pieces + [(caption[end:], 0.0)] * (end < len(caption))

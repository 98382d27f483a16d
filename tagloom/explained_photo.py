"""A photo with what speaks for its labels: for ``tagloom explain``, and in notebooks."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from stages import UserError
from stages.bundle.model import Model
from stages.ingest.decoder_processes import Decoders
from stages.ingest.form import Form
from stages.ingest.images import UnreadablePhoto
from tagloom import drawing
from tagloom.explanation import explain
from tagloom.photo_files import read_file

MOST_PROBABLE = 3  # labels that are explained where none holds


class ExplainedPhoto(NamedTuple):
    """A photo, and what speaks for some labels.

    Attributes:
        pixels: uint8 (height, width, 3), upright, in its own shape.
        parts: a label each.
    """

    pixels: np.ndarray
    parts: list[drawing.Explained]


def explain_photo(
    model: Model, photo: Path, caption: str | None, labels: Sequence[str] = ()
) -> ExplainedPhoto:
    """What in a photo, and in its caption, speaks for ``labels``, names of the model's.

    Where none are named, for those that hold, and where none holds, for the most probable.

    Raises:
        UserError: the photo cannot be read.
    """
    bundle = model.bundle
    description, names = bundle.description, bundle.labels
    try:
        content = read_file(photo)
        with Decoders(1) as decoders:
            pixels = decoders.decode(content, bundle.form).pixels
            # All of it, whatever the model sees.
            large = decoders.decode(content, Form(drawing.SIDE, bundle.form.depth))
    except UnreadablePhoto as error:
        raise UserError(f"{photo}: {error}") from error
    answers = model.probabilities(pixels[None] if description.sees_images else None, [caption])
    [probabilities], [holds] = answers, model.decide(answers)
    places = [names.index(name) for name in dict.fromkeys(labels)]
    if not places:
        order = (-probabilities).argsort(kind="stable").tolist()
        places = [n for n in order if holds[n]] or order[:MOST_PROBABLE]
    explanation = explain(bundle, pixels, caption, places)
    shown = drawing.upright(large.pixels, large.width, large.height)
    seen = description.seen(large.width, large.height)
    warm = [None if h is None else drawing.warmed(shown, h, seen) for h in explanation.heat]
    parts = [
        drawing.Explained(
            names[n],
            float(probabilities[n]),
            bool(holds[n]),
            picture,
            words,
            description.segmentation,
        )
        for n, picture, words in zip(places, warm, explanation.words, strict=True)
    ]
    return ExplainedPhoto(shown, parts)

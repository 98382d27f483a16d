"""What the routes answer, as JSON."""

import math

import numpy as np
from pydantic import BaseModel, Field

from stages.bundle.model import Model
from tagloom.serve.limits import Limits, Refused


class Photo(BaseModel):
    """What is found on one photo, or why nothing is."""

    filename: str = Field(description="As it was sent; empty where there was no photo")
    labels: list[str] | None = Field(None, description="Those that hold, the most probable first")
    probabilities: dict[str, float] | None = Field(None, description="Of every label, calibrated")
    error: str | None = Field(None, description="Why the photo cannot be read")


class Answer(BaseModel):
    """Photos in the order in which they came, all by one model."""

    model: str = Field(description="SHA-256 of the model's bundle")
    photos: list[Photo]


class Problem(BaseModel):
    """Why there is no answer."""

    detail: str = Field(description="In words")
    photos: list[Photo] | None = Field(None, description="Where none of them could be read")


class Label(BaseModel):
    """A label that the model knows, and the least probability with which it holds."""

    name: str
    threshold: float


class Labels(BaseModel):
    """What the model knows, and what it may be asked."""

    model: str = Field(description="SHA-256 of the model's bundle")
    inputs: str = Field(description="What it looks at: image, caption or image+caption")
    explains: bool = Field(description="Whether POST /explain draws heat maps")
    limits: Limits
    labels: list[Label]


class Live(BaseModel):
    """That the service runs."""

    live: bool = True


class Health(BaseModel):
    """How the service does."""

    ready: bool
    reason: str | None = Field(description="Why it is not ready; null: it is")
    version: str = Field(description="Of Tagloom")
    process: int = Field(description="Number of the process that answers: the log names it, too")
    model: str = Field(description="SHA-256 of the model's bundle")
    bundle: str = Field(description="The folder that it is from")
    problem: str | None = Field(description="Why a newer model is not in use; null: there is none")


def threshold(text: str | None) -> float | None:
    """The threshold for all labels in a form's field; None: each label's own.

    Raises:
        Refused: it is not a number from 0 to 1.
    """
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise Refused(422, "fields", "threshold is a number from 0 to 1")
    return value


def photo(filename: str, row: np.ndarray, model: Model, one: float | None) -> Photo:
    """What is answered for a photo.

    Args:
        row: its probabilities, float32 (labels,).
        one: the threshold of all labels; None: each label's own.
    """
    names = model.bundle.labels
    holds = model.decide(row[None])[0] if one is None else row.astype(np.float64) >= one
    labels = [names[place] for place in np.argsort(-row, kind="stable") if holds[place]]
    return Photo(
        filename=filename,
        labels=labels,
        probabilities=dict(zip(names, map(float, row), strict=True)),
    )


def labels(model: Model, explains: bool, limits: Limits) -> Labels:
    bundle = model.bundle
    return Labels(
        model=bundle.sha256,
        inputs=bundle.inputs,
        explains=explains,
        limits=limits,
        labels=[
            Label(name=name, threshold=threshold)
            for name, threshold in zip(bundle.labels, bundle.thresholds.tolist(), strict=True)
        ],
    )

"""What ``bundle.json`` says, each field of it within bounds.

A bundle may come from anywhere, its hashes with it. So everything is checked before anything is
built, and who reads a bundle need not doubt a value.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import from_json

from stages import UserError
from stages.network.description import WEIGHTS, Description
from stages.params import Fraction
from stages.threshold.decision import Decision

FORMAT = 4  # goes up when a program that reads this one could not read the next

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Commit = Annotated[str, Field(pattern="^[0-9a-f]{40,64}$")]
Count = Annotated[int, Field(ge=0, le=2**53)]
Amount = Annotated[float, Field(ge=0, le=1e12)]
MOST = 300  # letters of a message: names in it may be of any length


class Part(BaseModel):
    """A part of ``bundle.json``: of these fields and no others."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Figure(Part):
    """A metric with its 95 % interval."""

    value: Fraction
    low: Fraction
    high: Fraction


class OfLabel(Part):
    """How good it is for one label; None where no photo carries it.

    Attributes:
        low, high: the 95 % interval of F1.
        count: of the photos that carry the label.
        known: of the photos of which it is known whether they do; None: of all.
    """

    precision: Fraction | None
    recall: Fraction | None
    f1: Fraction | None
    low: Fraction | None
    high: Fraction | None
    average_precision: Fraction | None
    count: Count
    known: Count | None = None

    @model_validator(mode="after")
    def _none_where_none_carries_it(self) -> Self:
        figures = ("precision", "recall", "f1", "average_precision")
        missing = [name for name in figures if getattr(self, name) is None]
        if self.count and missing:
            raise ValueError(f"{missing[0]} is null, though {self.count:,} photos carry the label")
        return self


class Validation(Part):
    """How good it is on the photos of validation.

    Attributes:
        overall: its metrics, over all labels.
        without_model: those of them that giving every photo the most frequent labels reaches.
        captions_alone: those that a plain model of captions reaches; None: there are no captions.
        never_given: the labels that no photo was given.
    """

    photos: Count
    overall: dict[str, Figure]
    without_model: dict[str, Fraction] = {}  # of bundles before format 4, as all that follows
    captions_alone: dict[str, Fraction] | None = None
    never_given: list[str] = []
    labels: dict[str, OfLabel]


class Scores(Part):
    micro_f1: Fraction
    macro_f1: Fraction
    mean_average_precision: Fraction


class Differences(Part):
    """Between the probabilities of two, and the share of decisions that are others."""

    max_difference: Fraction
    changed_decisions: Fraction


class Weights(Differences):
    precision: Literal["float16", "float32"]
    before: Scores
    after: Scores


class Graph(Differences):
    rows: Count


class Errors(Part):
    expected_calibration_error: Amount
    log_loss: Amount


class Calibration(Part):
    temperature: Amount
    before: Errors
    after: Errors


class Metrics(Part):
    """What was measured on the validation photos.

    Attributes:
        weights: their precision, and what it changed.
        without_captions: what it scores when all are left out; None where that says nothing.
        onnx: how far the graph's probabilities are from PyTorch's; None: there is no graph.
    """

    weights: Weights
    without_captions: Scores | None
    onnx: Graph | None
    validation: Validation
    calibration: Calibration


class Data(Part):
    """How many photos there are for what, and how many ``captions`` among those for training."""

    photos: Count
    training: Count
    validation: Count
    captions: Count
    records_sha256: Sha256


class Provenance(Part):
    """What it was made from, with what and where.

    Attributes:
        commit: None: made without Git.
        parameters: the sections of ``params.yaml``.
    """

    commit: Commit | None
    changed_since_commit: bool | None
    parameters: dict[str, Any]
    packages: dict[str, str]
    hardware: str
    training_seconds: Amount
    data: Data


class Content(Part):
    """What ``bundle.json`` says.

    Attributes:
        format: ``FORMAT`` of the program that wrote it.
        description: of the network.
        decision: as in ``models/decision.json``.
        metrics, provenance: None: not yet known, as the bundle is still being made.
        files: the SHA-256 of each other file, by its path in the folder.
    """

    format: Annotated[int, Field(ge=1, le=FORMAT)]
    description: Description
    decision: Decision
    metrics: Metrics | None
    provenance: Provenance | None
    files: dict[str, Sha256]

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        described, decision = self.description, self.decision
        if described.crop is not None and described.crop > described.stored_size:
            raise ValueError("description.crop is more than description.stored_size")
        if isinstance(described.depth, tuple) and described.depth[0] >= described.depth[1]:
            raise ValueError("description.depth does not go from the lower to the higher value")
        if decision.labels != described.labels:
            raise ValueError("decision.labels are not those of the description")
        if len(decision.thresholds) != len(described.labels):
            raise ValueError("decision.thresholds are not one for each label")
        if self.metrics is not None and (
            self.metrics.validation.labels.keys() != set(described.labels)
        ):
            raise ValueError("metrics.validation.labels are not those of the description")
        if WEIGHTS not in self.files:
            raise ValueError(f"files names no {WEIGHTS}")
        return self


def parse(raw: bytes, file: Path) -> Content:
    """The content of a bundle's manifest.

    Raises:
        UserError: a newer program made it, or it says what cannot be; names ``file`` and the field.
    """
    try:
        plain = from_json(raw, allow_inf_nan=False)
    except ValueError as error:
        raise UserError(f"{file} is not JSON: {error}; get the bundle anew") from error
    version = plain.get("format") if isinstance(plain, dict) else None
    if isinstance(version, int) and FORMAT < version < 1000:
        raise UserError(
            f"{file} has format {version}, but this Tagloom knows {FORMAT} at most; install a "
            "newer one"
        )
    try:
        return Content.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        what = str(first["ctx"]["error"]) if first["type"] == "value_error" else first["msg"]
        reason = (f"{where}: {what}" if where else what)[:MOST]
        raise UserError(f"{file} is not of a bundle: {reason}; get the bundle anew") from error

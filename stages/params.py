"""``params.yaml`` as typed models: one section a stage, an unknown key is an error.

The values, and a word on each, stand in ``params.yaml``; there are no defaults here, so that a
value has one home. Names, types and bounds stand here.
"""

import difflib
import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from ruamel.yaml import YAML, YAMLError

from stages import UserError

PARAMS = Path("params.yaml")

Fraction = Annotated[float, Field(ge=0, le=1)]
OpenFraction = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]


class Section(BaseModel):
    """A section of ``params.yaml``: immutable, unknown keys are rejected."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Ingest(Section):
    """What comes in. A source's own options stand in a section named after it.

    Those are kept as they are (``source_options``): the source's module checks them.
    """

    model_config = ConfigDict(extra="allow")

    source: str
    root: str
    image_size: Annotated[int, Field(ge=8, le=4096)]
    labels: Annotated[list[str], Field(min_length=1)] | None
    max_rejected: Fraction

    @model_validator(mode="before")
    @classmethod
    def _sections_belong_to_sources(cls, section: Any) -> Any:
        sources = source_names()
        known = [*cls.model_fields, *sources]
        for key in section if isinstance(section, dict) else ():
            if key not in known:
                raise ValueError(_unknown(f"ingest.{key}", [f"ingest.{name}" for name in known]))
        if isinstance(section, dict) and section.get("source") not in [None, *sources]:
            raise ValueError(
                f"ingest.source is {section['source']!r}; the sources are {', '.join(sources)}"
            )
        return section

    @field_validator("labels")
    @classmethod
    def _each_label_once(cls, labels: list[str] | None) -> list[str] | None:
        for name in labels or ():
            if labels.count(name) > 1:
                raise ValueError(f"ingest.labels names {name!r} twice")
        return labels

    @property
    def source_options(self) -> dict[str, Any]:
        return (self.model_extra or {}).get(self.source) or {}


class Eda(Section):
    top_words: Positive
    examples: Positive


class Split(Section):
    validation: OpenFraction | None
    folds: Annotated[int, Field(ge=2)] | None
    fold: Count
    seed: Seed

    @model_validator(mode="after")
    def _one_way_to_split(self) -> "Split":
        if (self.validation is None) == (self.folds is None):
            raise ValueError(
                "give either split.validation (one split) or split.folds (cross-validation), "
                "and set the other to null"
            )
        if self.fold >= (self.folds or 1):
            raise ValueError(
                f"split.fold is {self.fold}, but the folds are numbered 0 to "
                f"{(self.folds or 1) - 1}"
            )
        return self


class Vocab(Section):
    normalize: Literal["none", "stem", "lemma"]
    stop_words: Literal["keep", "drop"]
    min_count: Positive
    max_words: Positive
    max_length: Positive


class Text(Section):
    cell: Literal["lstm", "gru"]
    bidirectional: bool
    embedding: Positive
    hidden: Positive
    dropout: Fraction
    caption_dropout: Fraction


class Loss(Section):
    name: Literal["bce", "focal"]
    gamma: Annotated[float, Field(ge=0)]
    alpha: OpenFraction | None


class Schedule(Section):
    name: Literal["none", "one-cycle", "plateau"]
    warmup: OpenFraction
    factor: OpenFraction
    patience: Positive


class Augment(Section):
    crop: Annotated[int, Field(ge=8)] | None
    horizontal_flip: Fraction
    vertical_flip: Fraction
    rotation: Annotated[float, Field(ge=0, le=180)]
    scale: Annotated[float, Field(ge=0, lt=1)]
    shift: Fraction
    brightness: Fraction
    contrast: Fraction
    saturation: Fraction


class Train(Section):
    inputs: Literal["image", "caption", "image+caption"]
    backbone: str
    weights: str
    freeze: bool
    dropout: Annotated[float, Field(ge=0, lt=1)]
    text: Text
    loss: Loss
    optimizer: Literal["sgd", "adam", "adamw"]
    lr: Annotated[float, Field(gt=0)]
    momentum: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: Annotated[float, Field(ge=0)]
    schedule: Schedule
    epochs: Positive
    early_stopping: Count
    metric: Literal["micro_f1", "macro_f1", "mean_average_precision"]
    batch_size: Annotated[int, Field(ge=2)]  # batch norm needs two
    precision: Literal["auto", "fp32", "bf16", "fp16"]
    augment: Augment
    seed: Seed
    max_mb: Annotated[float, Field(gt=0)]
    max_hours: Annotated[float, Field(gt=0)]


class Threshold(Section):
    scope: Literal["global", "label"]
    metric: Literal["micro_f1", "macro_f1", "subset_accuracy"]
    shrinkage: Annotated[float, Field(ge=0)]
    bootstrap: Annotated[int, Field(ge=100)]
    seed: Seed


class Predict(Section):
    batch_size: Positive


SECTIONS: dict[str, type[Section]] = {
    "ingest": Ingest,
    "eda": Eda,
    "split": Split,
    "vocab": Vocab,
    "train": Train,
    "threshold": Threshold,
    "predict": Predict,
}

Model = TypeVar("Model", bound=BaseModel)


def read(model: type[Model], path: Path = PARAMS) -> Model:
    """Reads the section of ``path`` that belongs to ``model``, one of ``SECTIONS``' values.

    Raises:
        UserError: the file cannot be read, the section is missing, or a key is unknown, missing
            or out of bounds.
    """
    name = next(name for name, section in SECTIONS.items() if section is model)
    # YAML 1.2, as DVC reads it: in YAML 1.1, 5e-4 is a string.
    try:
        content = YAML(typ="safe", pure=True).load(path.read_text("utf-8"))
    except (YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} must hold one section a stage: {', '.join(SECTIONS)}")
    for key in content:
        if key not in SECTIONS:
            raise UserError(f"{path}: {_unknown(key, SECTIONS)}")
    if name not in content:
        raise UserError(f"{path}: the section {name} is missing")
    return check(model, content[name], name, path)


def check(model: type[Model], values: Any, prefix: str, path: Path = PARAMS) -> Model:
    """Builds ``model`` from ``values``, the content of ``path`` at the key ``prefix``.

    Raises:
        UserError: names the first wrong key, and for an unknown one the nearest known.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        # A misspelt key is both missing and unknown; unknown says more.
        first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
        key = ".".join([prefix, *map(str, first["loc"])])
        if first["type"] == "extra_forbidden":
            owner = _model_at(model, first["loc"][:-1])
            parent = key.rpartition(".")[0]
            message = _unknown(key, [f"{parent}.{field}" for field in owner.model_fields])
        elif first["type"] == "missing":
            message = f"{key} is missing"
        elif first["type"] == "value_error":
            message = str(first["ctx"]["error"])
        else:
            wish = re.sub(r"^\w+ (?=should )", "", first["msg"])
            message = f"{key} {wish}, but is {first['input']!r}"
        raise UserError(f"{path}: {message}") from error


def source_names() -> list[str]:
    """The sources ``ingest`` can read: the modules of ``stages/ingest/sources``."""
    folder = Path(__file__).parent / "ingest" / "sources"
    return sorted(
        file.stem.replace("_", "-") for file in folder.glob("*.py") if file.stem != "__init__"
    )


def _model_at(model: type[BaseModel], location: tuple[Any, ...]) -> type[BaseModel]:
    for name in location:
        model = model.model_fields[name].annotation
    return model


def _unknown(key: str, known: Any) -> str:
    nearest = difflib.get_close_matches(key, list(known), n=1, cutoff=0.5)
    hint = f"; did you mean {nearest[0]}?" if nearest else ""
    return f"{key} is not a parameter{hint}"

"""``params.yaml`` as typed models: one section a stage, an unknown key is an error.

The values, and a word on each, stand in ``params.yaml``; there are no defaults here, so that a
value has one home. Names, types and bounds stand here.
"""

import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from ruamel.yaml import YAML, YAMLError

from stages import UserError

PARAMS = Path("params.yaml")
OWN_BACKBONES = ("small_cnn", "plain_cnn")  # those that torchvision has not

Fraction = Annotated[float, Field(ge=0, le=1)]
OpenFraction = Annotated[float, Field(gt=0, lt=1)]
PositiveFraction = Annotated[float, Field(gt=0, le=1)]
PositiveNumber = Annotated[float, Field(gt=0)]
Exponent = Annotated[float, Field(ge=0)]
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
    deliveries: str | None
    corrections: str
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
                raise ValueError(unknown(f"ingest.{key}", [f"ingest.{name}" for name in known]))
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
    encoder: Literal["lstm", "gru", "transformer"]
    bidirectional: bool
    embedding: Positive
    embeddings: str | None
    hidden: Positive
    transformer: str | None
    max_tokens: Annotated[int, Field(ge=3)]  # a word between the marks of beginning and end
    frozen_layers: Count
    dropout: Fraction
    caption_dropout: Fraction

    @model_validator(mode="after")
    def _one_thing_to_start_from(self) -> "Text":
        if self.encoder == "transformer" and self.transformer is None:
            raise ValueError(
                "train.text.encoder is transformer, but train.text.transformer names none; give "
                "a folder or a name on the hub"
            )
        if self.encoder == "transformer" and self.embeddings is not None:
            raise ValueError(
                "train.text.embeddings are word vectors for lstm and gru, and a transformer "
                "brings its own; set them to null"
            )
        return self


class Loss(Section):
    name: Literal["bce", "focal", "asymmetric", "mse"]
    gamma: Exponent
    alpha: OpenFraction | None
    gamma_positive: Exponent
    gamma_negative: Exponent
    margin: Annotated[float, Field(ge=0, lt=1)]
    positive_weight: Literal["none", "balanced"]

    @model_validator(mode="after")
    def _only_bce_is_balanced(self) -> "Loss":
        if self.positive_weight != "none" and self.name != "bce":
            raise ValueError(
                f"train.loss.positive_weight is {self.positive_weight}, but only bce knows such "
                f"weights; set it to none, or train.loss.name ({self.name}) to bce"
            )
        return self


class Schedule(Section):
    name: Literal["none", "plateau", "one-cycle", "cosine"]
    warmup: OpenFraction
    start: Fraction
    end: Fraction
    momentum: Annotated[float, Field(ge=0, lt=1)] | None
    factor: OpenFraction
    patience: Positive

    @model_validator(mode="after")
    def _only_one_cycle_cycles_momentum(self) -> "Schedule":
        if self.momentum is not None and self.name != "one-cycle":
            raise ValueError(
                f"train.schedule.momentum is {self.momentum:g}, but only one-cycle cycles the "
                f"momentum; set it to null, or train.schedule.name ({self.name}) to one-cycle"
            )
        return self


class Augment(Section):
    crop: Annotated[int, Field(ge=8)] | None
    resized_crop: tuple[PositiveFraction, PositiveFraction] | None
    aspect: tuple[PositiveNumber, PositiveNumber]
    horizontal_flip: Fraction
    vertical_flip: Fraction
    rotation: Annotated[float, Field(ge=0, le=180)]
    scale: Annotated[float, Field(ge=0, lt=1)]
    shift: Fraction
    brightness: Fraction
    contrast: Fraction
    saturation: Fraction
    hue: Annotated[float, Field(ge=0, le=0.5)]
    grey: Fraction
    randaugment: Count
    magnitude: Annotated[int, Field(ge=0, le=30)]
    cutout: Annotated[float, Field(ge=0, lt=1)]

    @model_validator(mode="after")
    def _ranges_go_up(self) -> "Augment":
        for name in ("resized_crop", "aspect"):
            first, last = getattr(self, name) or (0, 0)
            if first > last:
                raise ValueError(
                    f"train.augment.{name} goes from {first:g} to {last:g}; the smaller comes first"
                )
        return self


class Train(Section):
    inputs: Literal["image", "caption", "image+caption"]
    backbone: str
    weights: str
    freeze: bool
    unfreeze: Count
    feature_norm: Literal["none", "layer", "batch"]
    fusion: Literal["concat", "concat-relu", "concat-batchnorm", "late"]
    dropout: Annotated[float, Field(ge=0, lt=1)]
    text: Text
    loss: Loss
    optimizer: Literal["sgd", "adadelta", "adam", "amsgrad", "adamw", "rmsprop"]
    lr: PositiveNumber
    pretrained_lr: PositiveFraction
    momentum: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: Annotated[float, Field(ge=0)]
    decay: Literal["all", "weights"]
    ema: Annotated[float, Field(ge=0, lt=1)]
    schedule: Schedule
    epochs: Count
    early_stopping: Count
    metric: Literal["micro_f1", "macro_f1", "mean_average_precision"]
    batch_size: Annotated[int, Field(ge=2)]  # batch norm needs two
    precision: Literal["auto", "fp32", "bf16", "fp16"]
    devices: Literal["auto"] | int
    augment: Augment
    test_time_flip: bool
    seed: Seed
    max_mb: PositiveNumber
    max_hours: PositiveNumber

    @field_validator("devices", mode="before")
    @classmethod
    def _automatic_or_some(cls, devices: Any) -> Any:
        if devices == "auto" or (type(devices) is int and devices >= 1):
            return devices
        raise ValueError(f"train.devices is {devices!r}; it is auto or a number from 1")

    @model_validator(mode="after")
    def _weights_exist(self) -> "Train":
        if self.backbone in OWN_BACKBONES and self.weights != "none":
            raise ValueError(
                f"train.weights is {self.weights}, but there are none for train.backbone "
                f"{self.backbone}; set train.weights to none"
            )
        return self

    @model_validator(mode="after")
    def _only_what_is_frozen_thaws(self) -> "Train":
        if self.unfreeze and not self.freeze:
            raise ValueError(
                f"train.unfreeze is {self.unfreeze}, but nothing is frozen; set train.freeze to "
                "true, or train.unfreeze to 0"
            )
        return self

    @model_validator(mode="after")
    def _momentum_can_be_cycled(self) -> "Train":
        lowest = self.schedule.momentum
        if lowest is None:
            return self
        if self.optimizer == "adadelta" or (self.optimizer == "rmsprop" and not self.momentum):
            without = " without train.momentum" if self.optimizer == "rmsprop" else ""
            raise ValueError(
                f"train.schedule.momentum is {lowest:g}, but {self.optimizer}{without} has no "
                "momentum to cycle; set it to null"
            )
        if lowest > self.momentum:
            raise ValueError(
                f"train.schedule.momentum, which holds at the peak of the rate, is {lowest:g} and "
                f"must not exceed train.momentum, {self.momentum:g}"
            )
        return self


class Threshold(Section):
    scope: Literal["global", "label"]
    metric: Literal["micro_f1", "macro_f1", "subset_accuracy"]
    shrinkage: Annotated[float, Field(ge=0)]
    calibration: Literal["none", "temperature"]
    bootstrap: Annotated[int, Field(ge=100)]
    seed: Seed


class Bundle(Section):
    onnx: bool
    precision: Literal["auto", "float32", "float16"]
    tolerance: Fraction


class Predict(Section):
    batch_size: Positive


class Report(Section):
    photos: Positive
    labels: Positive | None
    captions: Positive
    against: str | None
    out_of_fold: str


class Retrain(Section):
    """Of no stage: when to retrain, and what a new model must be to take the place of the old."""

    cron: str | None
    timezone: str
    notify: str | None
    metric: Literal["micro_f1", "macro_f1", "subset_accuracy", "mean_average_precision"]
    min_gain: float
    max_label_drop: PositiveFraction
    bootstrap: Annotated[int, Field(ge=100)]
    seed: Seed
    patience: PositiveNumber | None

    @field_validator("timezone")
    @classmethod
    def _is_a_timezone(cls, timezone: str) -> str:
        try:
            ZoneInfo(timezone)
        except (KeyError, ValueError, OSError) as error:  # "Berlin", "/etc", "Europe"
            raise ValueError(
                f"retrain.timezone is {timezone!r}; write it as Europe/Berlin, or UTC"
            ) from error
        return timezone


SECTIONS: dict[str, type[Section]] = {
    "ingest": Ingest,
    "eda": Eda,
    "split": Split,
    "vocab": Vocab,
    "train": Train,
    "threshold": Threshold,
    "bundle": Bundle,
    "predict": Predict,
    "report": Report,
    "retrain": Retrain,
}

Model = TypeVar("Model", bound=BaseModel)


def read(model: type[Model], path: Path = PARAMS) -> Model:
    """Reads the section of ``path`` that belongs to ``model``, one of ``SECTIONS``' values.

    Raises:
        UserError: the file cannot be read, the section is missing, or a key is unknown, missing
            or out of bounds.
    """
    name = next(name for name, section in SECTIONS.items() if section is model)
    content = load(path)
    if name not in content:
        raise UserError(f"{path}: the section {name} is missing")
    return check(model, content[name], name, path)


def load(path: Path = PARAMS) -> dict[str, Any]:
    """The content of ``path``, not checked but for the names of its sections.

    Raises:
        UserError: the file is not YAML, or holds a section that belongs to no stage.
    """
    # YAML 1.2, as DVC reads it: in YAML 1.1, 5e-4 is a string.
    try:
        content = YAML(typ="safe", pure=True).load(path.read_text("utf-8"))
    except (YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} must hold one section a stage: {', '.join(SECTIONS)}")
    for key in content:
        if key not in SECTIONS:
            raise UserError(f"{path}: {unknown(key, SECTIONS)}")
    return content


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
            message = unknown(key, [f"{parent}.{field}" for field in owner.model_fields])
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


def unknown(key: str, known: Iterable[str]) -> str:
    """Says that ``key`` is none of ``known``, and which of them it resembles."""
    nearest = difflib.get_close_matches(key, list(known), n=1, cutoff=0.5)
    hint = f"; did you mean {nearest[0]}?" if nearest else ""
    return f"{key} is not a parameter{hint}"


if __name__ == "__main__":
    import runpy

    # By name: every stage depends on what this module imports, and none needs these checks.
    runpy.run_module("stages.overrides", run_name="__main__")

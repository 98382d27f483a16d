"""The section ``train`` of ``params.yaml``: how the network is made and learns."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from stages.params import (
    Count,
    Exponent,
    Fraction,
    OpenFraction,
    Positive,
    PositiveFraction,
    PositiveNumber,
    Section,
    Seed,
)

OWN_BACKBONES = ("small_cnn", "plain_cnn")  # those of no library


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
    unknown: Literal["ignore", "negative", "weak-negative"]

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

    @field_validator("weights")
    @classmethod
    def _imagenet_has_another_name(cls, weights: str) -> str:
        if weights == "imagenet":
            raise ValueError("train.weights imagenet is called pretrained; set it to that")
        return weights

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

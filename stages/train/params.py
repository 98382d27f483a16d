"""The section ``train`` of ``params.yaml``: how the network is made and learns."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from stages.params import (
    Count,
    Exponent,
    Fraction,
    Length,
    OpenFraction,
    Positive,
    PositiveFraction,
    PositiveNumber,
    Section,
    Seed,
    Width,
)

Devices = Literal["auto", "cluster"] | int
OWN_BACKBONES = ("small_cnn", "plain_cnn")  # those of no library
TIMM = "timm/"  # how the names of timm's begin


class Text(Section):
    encoder: Literal["lstm", "gru", "transformer"]
    bidirectional: bool
    embedding: Width
    embeddings: str | None
    hidden: Width
    transformer: str | None
    max_tokens: Annotated[Length, Field(ge=3)]  # a word between the marks of beginning and end
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
    mixup: Exponent
    cutmix: Exponent
    mixed: PositiveFraction

    @property
    def mixes(self) -> bool:
        """Whether photos are mixed with others."""
        return self.mixup > 0 or self.cutmix > 0

    @model_validator(mode="after")
    def _ranges_go_up(self) -> "Augment":
        for name in ("resized_crop", "aspect"):
            first, last = getattr(self, name) or (0, 0)
            if first > last:
                raise ValueError(
                    f"train.augment.{name} goes from {first:g} to {last:g}; the smaller comes first"
                )
        return self

    @property
    def changes_photos(self) -> bool:
        """Whether it changes photos one by one; what mixes them, and what only says how others do
        what they do, left out.
        """
        others = ("aspect", "magnitude", "mixup", "cutmix", "mixed")
        return any(value for name, value in self if name not in others)


class Train(Section):
    inputs: Literal["auto", "image", "caption", "image+caption"]
    backbone: str
    weights: str
    freeze: bool
    unfreeze: Count
    frozen_layers: Count
    views: Annotated[int, Field(ge=2)] | None
    pooling: Literal["backbone", "attention"]
    feature_norm: Literal["none", "layer", "batch"]
    fusion: Literal["concat", "concat-relu", "concat-batchnorm", "late", "product"]
    dropout: Annotated[float, Field(ge=0, lt=1)]
    text: Text
    loss: Loss
    optimizer: Literal["sgd", "adadelta", "adam", "amsgrad", "adamw", "rmsprop"]
    lr: PositiveNumber
    pretrained_lr: PositiveFraction
    transformer_lr: PositiveFraction | None
    layer_decay: PositiveFraction
    momentum: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: Annotated[float, Field(ge=0)]
    decay: Literal["all", "weights"]
    clip: Annotated[float, Field(ge=0)]
    ema: Annotated[float, Field(ge=0, lt=1)]
    schedule: Schedule
    epochs: Count
    progressive: PositiveFraction
    early_stopping: Count
    metric: Literal["micro_f1", "macro_f1", "mean_average_precision"]
    batch_size: Annotated[int, Field(ge=2)]  # batch norm needs two
    shuffle: Count
    accumulate: Positive
    recompute: bool
    compile: bool
    precision: Literal["auto", "fp32", "bf16", "fp16"]
    devices: Devices
    augment: Augment
    test_time_flip: bool
    seed: Seed
    max_mb: PositiveNumber
    max_hours: PositiveNumber

    @field_validator("devices", mode="before")
    @classmethod
    def _automatic_or_some(cls, devices: Any) -> Any:
        if devices in ("auto", "cluster") or (type(devices) is int and devices >= 1):
            return devices
        raise ValueError(f"train.devices is {devices!r}; it is auto, cluster or a number from 1")

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
    def _places_are_given_and_asked(self) -> "Train":
        if self.pooling == "backbone" or self.inputs == "caption":
            return self
        if not self.backbone.startswith(TIMM):
            raise ValueError(
                f"train.pooling is attention, but train.backbone {self.backbone} pools by itself; "
                f"take one of timm's, {TIMM}NAME, or set train.pooling to backbone"
            )
        if self.inputs == "image+caption" and self.fusion not in ("late", "product"):
            raise ValueError(
                f"train.pooling is attention, but with train.fusion {self.fusion} photo and "
                "caption have one last layer, and a caption has no places; set train.fusion to "
                "product or late, or train.pooling to backbone"
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
    def _frozen_in_one_way(self) -> "Train":
        if self.frozen_layers and self.freeze:
            raise ValueError(
                f"train.frozen_layers is {self.frozen_layers}, but train.freeze keeps all of "
                "them as they are; set train.freeze to false, or train.frozen_layers to 0"
            )
        return self

    @model_validator(mode="after")
    def _mixed_photos_leave_captions_to_learn_from(self) -> "Train":
        if not self.augment.mixes or self.inputs != "image+caption":
            return self
        if self.fusion == "late":
            key = "mixup" if self.augment.mixup else "cutmix"
            raise ValueError(
                f"train.augment.{key} is {getattr(self.augment, key):g}, but mixed photos are "
                "learnt without captions, and with train.fusion late captions learn alone, from "
                "all photos; set it to 0, or fuse in another way"
            )
        if self.augment.mixed == 1:
            raise ValueError(
                "train.augment.mixed is 1, but mixed photos are learnt without captions, so no "
                "caption would be learnt; lower it, or set train.inputs to image"
            )
        return self

    @model_validator(mode="after")
    def _photos_grow_for_what_learns(self) -> "Train":
        if self.progressive < 1 and self.freeze and not self.unfreeze:
            raise ValueError(
                f"train.progressive is {self.progressive:g}, but with train.freeze the backbone "
                "does not learn, and of smaller photos it gives other features; set it to 1"
            )
        return self

    @model_validator(mode="after")
    def _pieces_hold_two_rows(self) -> "Train":
        if self.accumulate > 1 and 2 * self.accumulate > self.batch_size:
            raise ValueError(
                f"train.accumulate is {self.accumulate}, but train.batch_size, "
                f"{self.batch_size}, has not two rows for each piece; lower the one or raise the "
                "other"
            )
        return self

    @model_validator(mode="after")
    def _compiled_or_recomputed(self) -> "Train":
        if self.compile and self.recompute:
            raise ValueError(
                "train.compile and train.recompute exclude each other: torch.compile decides by "
                "itself what is computed again; set one of them to false"
            )
        return self

    @model_validator(mode="after")
    def _views_are_kept_and_differ(self) -> "Train":
        if self.views is not None and (self.unfreeze or not self.freeze):
            reason = "thaws (train.unfreeze)" if self.unfreeze else "is not frozen (train.freeze)"
            raise ValueError(
                f"train.views is {self.views}, but features are kept of a frozen backbone only, "
                f"and this one {reason}; set train.views to null"
            )
        if self.views is not None and not self.augment.changes_photos:
            raise ValueError(
                f"train.views is {self.views}, but train.augment changes nothing: the views of a "
                "photo would all be the same; let it crop or mirror, or set train.views to null"
            )
        if self.views is not None and self.augment.mixes:
            raise ValueError(
                f"train.views is {self.views}, so that features are kept and no photo is there to "
                "be mixed; set train.augment.mixup and cutmix to 0, or train.views to null"
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

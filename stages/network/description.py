"""What a network is, as ``models/network/network.json`` says it. To be read without torch.

Bounds stand at the fields. Who reads what others describe, as ``stages.bundle.content`` does, has
pydantic check them.
"""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,  # before Python 3.12 pydantic takes no other
)

from pydantic import AfterValidator, Field, GetPydanticSchema
from typing_extensions import TypedDict

from stages.ingest.form import Depth, Fit, Form, Side, as_depth, shares
from stages.params import Count, Fraction, Length, Positive, Width
from stages.words import Segmentation

WEIGHTS = "network.safetensors"  # beside the description …
TRANSFORMER = "transformer"  # … and the folder of a transformer's configuration and tokenizer

# Of ImageNet's RGB, which pretrained backbones expect and others do well with.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def _unique(names: list[str]) -> list[str]:
    for name, count in Counter(names).items():
        if count > 1:
            raise ValueError(f"names {name!r} twice")
    return names


Names = Annotated[list[Annotated[str, Field(min_length=1)]], AfterValidator(_unique)]
# By these timm would look for files, or on a hub.
FOREIGN = {"cache_dir", "checkpoint_path", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay"}
LARGEST = 2**16  # number in the options of an architecture
Dropout = Annotated[float, Field(ge=0, lt=1)]
Mean = Annotated[float, Field(ge=-256, le=256)]
Deviation = Annotated[float, Field(ge=1e-6, le=256)]


class Text(TypedDict):
    """The options of ``train.text``."""

    encoder: Literal["lstm", "gru", "transformer"]
    bidirectional: bool
    embedding: Width
    embeddings: str | None
    hidden: Width
    transformer: str | None
    max_tokens: Annotated[Length, Field(ge=3)]
    frozen_layers: Annotated[Count, Field(le=10_000)]
    dropout: Fraction
    caption_dropout: Fraction


class Words(TypedDict):
    """As in ``data/vocabulary.json``."""

    words: Names
    normalize: Literal["none", "stem", "lemma"]
    drop_stop_words: bool
    max_length: Length
    segmentation: NotRequired[Segmentation]


def _of_the_model(options: dict[str, Any]) -> dict[str, Any]:
    for name in FOREIGN & options.keys():
        raise ValueError(f"holds {name}, which is none of a model")
    values = list(options.values())
    while values:
        value = values.pop()
        if isinstance(value, dict | list):
            values += value.values() if isinstance(value, dict) else value
        elif isinstance(value, int | float) and abs(value) > LARGEST:
            raise ValueError(f"holds a number beyond {LARGEST:,}")
    return options


class Architecture(TypedDict):
    """What timm builds."""

    name: str
    options: Annotated[dict[str, Any], AfterValidator(_of_the_model)]


def _as(form: type) -> GetPydanticSchema:
    """To pydantic a dictionary of that form, and one of anything to who reads it by a key."""
    return GetPydanticSchema(lambda _, schema: schema(form))


@dataclass(frozen=True)
class Description:
    """All that is needed to rebuild a network, and to feed it, but for its weights.

    Attributes:
        labels: names of the outputs, in order.
        inputs: ``image``, ``caption`` or ``image+caption``.
        backbone: its name, as in ``train.backbone``.
        stored_size: height and width of the photos in the image store, in pixels.
        crop: the centre of them that the backbone sees, in pixels; None: all.
        depth: how pixels deeper than 8 bits were scaled for it, as in ``ingest.depth``.
        fit: how photos became square for it, as in ``ingest.fit``.
        mean, std: of the normalisation, each of R, G and B in [0, 1].
        interpolation: by which photos were resized for the backbone's weights, as its library
            says. Ours are resized once, as they are stored, bilinearly.
        native_size: of the photos its weights were trained on, in pixels; None: not known.
        architecture: of a backbone that has its configuration beside its weights, what timm
            builds: its ``name`` and ``options``; None: the name of the backbone says it.
        feature_norm, fusion, dropout, pooling: as in ``train``.
        flip: whether the answer is the mean over the photo and its mirror image.
        precision: as in ``train.precision``: thresholds suit the probabilities they were found on.
        text: the caption encoder's options, as in ``train.text``.
        vocabulary: as in ``data/vocabulary.json``; a transformer has a tokenizer instead.
    """

    labels: Annotated[Names, Field(min_length=1)]
    inputs: Literal["image", "caption", "image+caption"]
    backbone: str
    stored_size: Side
    crop: Side | None
    feature_norm: Literal["none", "layer", "batch"]
    fusion: Literal["concat", "concat-relu", "concat-batchnorm", "late", "product"]
    dropout: Dropout
    flip: bool
    precision: Literal["auto", "fp32", "bf16", "fp16"]
    text: Annotated[dict[str, Any], _as(Text)]
    vocabulary: Annotated[dict[str, Any], _as(Words)]
    mean: tuple[Mean, Mean, Mean] = MEAN
    std: tuple[Deviation, Deviation, Deviation] = STD
    depth: Depth = "type"
    fit: Fit = "stretch"
    interpolation: str = "bilinear"
    native_size: Annotated[Positive, Field(le=2**16)] | None = None
    architecture: Annotated[dict[str, Any], _as(Architecture)] | None = None
    pooling: Literal["backbone", "attention"] = "backbone"

    @property
    def sees_images(self) -> bool:
        return "image" in self.inputs

    @property
    def has_places(self) -> bool:
        """Whether the last layer is given the features of each place of a photo."""
        return self.pooling == "attention"

    @property
    def reads_captions(self) -> bool:
        return "caption" in self.inputs

    @property
    def has_transformer(self) -> bool:
        return self.reads_captions and self.text["encoder"] == "transformer"

    @property
    def segmentation(self) -> Segmentation:
        """What a word of a caption is to people; a transformer's tokens are others."""
        found: Segmentation = self.vocabulary.get("segmentation", "letters")
        return found

    @property
    def form(self) -> Form:
        """What photos have to be brought to."""
        return Form(self.stored_size, self.depth, self.fit)

    def seen(self, width: int, height: int) -> tuple[float, float]:
        """What the sides of the square that the backbone sees are of a photo's width and height.

        The two have one middle.
        """
        part = self.input_size / self.stored_size
        across, down = shares(self.fit, width, height)
        return part * across, part * down

    @property
    def input_size(self) -> int:
        """Height and width of the photos that the backbone sees, in pixels."""
        return self.crop or self.stored_size


def read_description(folder: Path) -> Description:
    """The description in a folder that is laid out as ``models/network/``."""
    content = json.loads((folder / "network.json").read_text("utf-8"))
    return Description(**content | {"depth": as_depth(content.get("depth", "type"))})

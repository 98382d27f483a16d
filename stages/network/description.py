"""What a network is, as ``models/network/network.json`` says it. To be read without torch."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.ingest.form import Depth, Form, as_depth

WEIGHTS = "network.safetensors"  # beside the description …
TRANSFORMER = "transformer"  # … and the folder of a transformer's configuration and tokenizer

# Of ImageNet's RGB, which pretrained backbones expect and others do well with.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


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
        mean, std: of the normalisation, each of R, G and B in [0, 1].
        interpolation: by which photos were resized for the backbone's weights, as its library
            says. Ours are resized once, as they are stored, bilinearly.
        native_size: of the photos its weights were trained on, in pixels; None: not known.
        architecture: of a backbone that has its configuration beside its weights, what timm
            builds: its ``name`` and ``options``; None: the name of the backbone says it.
        feature_norm, fusion, dropout: as in ``train``.
        flip: whether the answer is the mean over the photo and its mirror image.
        precision: as in ``train.precision``: thresholds suit the probabilities they were found on.
        text: the caption encoder's options, as in ``train.text``.
        vocabulary: as in ``data/vocabulary.json``; a transformer has a tokenizer instead.
    """

    labels: list[str]
    inputs: str
    backbone: str
    stored_size: int
    crop: int | None
    feature_norm: str
    fusion: str
    dropout: float
    flip: bool
    precision: str
    text: dict[str, Any]
    vocabulary: dict[str, Any]
    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD
    depth: Depth = "type"
    interpolation: str = "bilinear"
    native_size: int | None = None
    architecture: dict[str, Any] | None = None

    @property
    def sees_images(self) -> bool:
        return "image" in self.inputs

    @property
    def reads_captions(self) -> bool:
        return "caption" in self.inputs

    @property
    def has_transformer(self) -> bool:
        return self.reads_captions and self.text["encoder"] == "transformer"

    @property
    def form(self) -> Form:
        """What photos have to be brought to."""
        return Form(self.stored_size, self.depth)

    @property
    def input_size(self) -> int:
        """Height and width of the photos that the backbone sees, in pixels."""
        return self.crop or self.stored_size


def read_description(folder: Path) -> Description:
    """The description in a folder that is laid out as ``models/network/``."""
    content = json.loads((folder / "network.json").read_text("utf-8"))
    return Description(**content | {"depth": as_depth(content.get("depth", "type"))})

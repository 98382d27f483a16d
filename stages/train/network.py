"""``models/network/``: a trained network and everything needed to rebuild and feed it.

``network.safetensors`` holds the weights, ``network.json`` the ``Description``. Reading either
executes nothing.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from stages import UserError
from stages.files import whole, write_json
from stages.ingest.images import ImageStore
from stages.train.augment import MEAN, STD, prepare
from stages.train.batches import Batch, Rows
from stages.train.nets import backbones
from stages.train.nets.caption import CaptionEncoder
from stages.train.nets.classifier import Classifier
from stages.train.precision import autocast
from stages.vocab import vocabulary
from stages.vocab.vocabulary import Vocabulary

NETWORK = Path("models/network")
MB = 2**20  # bytes; the sizes that the studies publish count so


@dataclass(frozen=True)
class Description:
    """What a network is and what it wants to see.

    Attributes:
        labels: names of the outputs, in order.
        inputs: ``image``, ``caption`` or ``image+caption``.
        backbone: its name, as in ``train.backbone``.
        stored_size: height and width of the photos in the image store, in pixels.
        crop: the centre of them that the backbone sees, in pixels; None: all.
        mean, std: of the normalisation, each of R, G and B in [0, 1].
        dropout: before the last layer.
        precision: as in ``train.precision``: thresholds suit the probabilities they were found on.
        text: the caption encoder's options.
        vocabulary: as in ``data/vocabulary.json``.
    """

    labels: list[str]
    inputs: str
    backbone: str
    stored_size: int
    crop: int | None
    dropout: float
    precision: str
    text: dict[str, Any]
    vocabulary: dict[str, Any]
    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD

    @property
    def sees_images(self) -> bool:
        return "image" in self.inputs

    @property
    def reads_captions(self) -> bool:
        return "caption" in self.inputs


def build(description: Description, weights: str = "none", frozen: bool = False) -> Classifier:
    """A network of that description; ``weights`` and ``frozen`` are the backbone's."""
    backbone, image_features = None, 0
    if description.sees_images:
        backbone, image_features = backbones.build(
            description.backbone, description.crop or description.stored_size, weights
        )
    captions = None
    if description.reads_captions:
        words = len(vocabulary.from_json(description.vocabulary))
        options = {k: v for k, v in description.text.items() if k != "caption_dropout"}
        captions = CaptionEncoder(words, **options)
    return Classifier(
        backbone,
        image_features,
        captions,
        outputs=len(description.labels),
        dropout=description.dropout,
        caption_dropout=description.text["caption_dropout"],
        frozen=frozen,
    )


def size_mb(network: nn.Module) -> float:
    """Size of the weights as they are saved, in MB of 2²⁰ bytes."""
    return sum(tensor.nbytes for tensor in network.state_dict().values()) / MB


def save(network: Classifier, description: Description, folder: Path = NETWORK) -> None:
    with whole(folder) as temporary:
        temporary.mkdir()
        weights = {
            name: tensor.detach().cpu().contiguous()
            for name, tensor in network.state_dict().items()
        }
        save_file(weights, temporary / "network.safetensors")
        write_json(temporary / "network.json", asdict(description))


def load(folder: Path = NETWORK) -> tuple[Classifier, Description]:
    """The network, ready to predict on the CPU, and its description."""
    description = Description(**json.loads((folder / "network.json").read_text("utf-8")))
    network = build(description)
    network.load_state_dict(load_file(folder / "network.safetensors"))
    return network.eval(), description


def rows_for(
    description: Description,
    records: pl.DataFrame,
    store: ImageStore,
    words: Vocabulary,
    targets: np.ndarray | None,
) -> Rows:
    """The rows of ``records`` as a network of that description is fed with them."""
    return Rows(
        store=store if description.sees_images else None,
        images=records["image"].to_numpy(),
        words=(
            torch.from_numpy(words.encode(records["caption"]))
            if description.reads_captions
            else None
        ),
        targets=None if targets is None else torch.from_numpy(targets.astype(np.float32)),
    )


@contextmanager
def memory_for(key: str, batch_size: int) -> Iterator[None]:
    """Turns a GPU that is too small for the block into a sentence about the parameter ``key``."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise UserError(
            f"{key} = {batch_size} takes more memory than this GPU has; lower it"
        ) from error


@torch.inference_mode()
def logits(
    network: Classifier, description: Description, batches: Iterator[Batch], precision: str
) -> Iterator[tuple[Batch, torch.Tensor]]:
    """Yields each batch with its logits, float32 (n, labels), on the network's device."""
    network.eval()
    device = next(network.parameters()).device
    context = autocast(device, precision)
    for stored in batches:
        batch = stored.map_images(
            lambda images: prepare(images, description.crop, description.mean, description.std)
        )
        with context():
            output = network(batch)
        yield batch, output.float()

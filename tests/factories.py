"""Networks and records made by hand."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import nn

from stages.network.batches import Batch
from stages.network.description import Description
from stages.params import read
from stages.train.params import Train
from stages.vocab.vocabulary import Vocabulary
from tests.conftest import ROOT

TEXT = read(Train, ROOT / "params.yaml").text.model_dump() | {
    "embedding": 4,
    "hidden": 4,
    "max_tokens": 12,
    "dropout": 0.0,
}


def description(
    inputs: str, labels: int = 3, words: Sequence[str] = (), **more: Any
) -> Description:
    """Of a small network, changed by ``more``."""
    vocabulary = Vocabulary(list(words), "none", drop_stop_words=True, max_length=8)
    known = {
        "labels": [f"label {number}" for number in range(labels)],
        "inputs": inputs,
        "backbone": "small_cnn",
        "stored_size": 64,
        "crop": None,
        "feature_norm": "layer",
        "fusion": "concat",
        "dropout": 0.1,
        "flip": False,
        "precision": "fp32",
        "text": TEXT,
        "vocabulary": vars(vocabulary),
    }
    return Description(**known | more)


def batch(photos: int = 2, size: int = 64, seed: int = 0, words: bool = False) -> Batch:
    """Prepared noise, and captions of three words."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(photos, 3, size, size, generator=generator)
    numbers = torch.randint(1, 4, (photos, 3), generator=generator) if words else None
    lengths = torch.full((photos,), 3) if words else None
    return Batch(images, None, numbers, lengths, None)


class Spotter(nn.Module):
    """A caption encoder whose features say which of the numbers 2, 3, … a caption holds."""

    def __init__(self, numbers: int) -> None:
        super().__init__()
        self.features = numbers

    def forward(self, words: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        wanted = torch.arange(2, 2 + self.features, device=words.device)
        return (words[:, :, None] == wanted).any(dim=1).float()


def records(captions: Sequence[str | None]) -> pl.DataFrame:
    """Records of photos 0, 1, … of a store."""
    columns = {"image": np.arange(len(captions), dtype=np.int32), "caption": captions}
    return pl.DataFrame(columns, schema_overrides={"caption": pl.String})

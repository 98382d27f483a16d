"""What in a photo and in its caption speaks for labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch

from stages.bundle.bundle import Bundle
from stages.report import heatmaps, layers, telling_words
from stages.train import network as networks
from stages.train.network import prepared
from stages.train.tokens import words_of


@dataclass(frozen=True)
class Explanation:
    """What speaks for some labels.

    Attributes:
        heat: for each label, float32 (side, side), not negative: where in the part of the photo
            that the network sees; None where it looks at no photo or keeps no maps of it.
        words: for each label, those of the caption, by how much each raises its logit; none where
            the network reads no caption.
    """

    heat: list[np.ndarray | None]
    words: list[Mapping[str, float]]


class _Held:
    """One photo in memory, as ``ImageStore`` gives those on disk."""

    def __init__(self, pixels: np.ndarray) -> None:
        self._pixels, self.size = pixels, len(pixels)

    def gather(self, rows: np.ndarray) -> np.ndarray:
        return np.repeat(self._pixels[None], len(rows), axis=0)


def explain(
    bundle: Bundle, pixels: np.ndarray, caption: str | None, labels: Sequence[int]
) -> Explanation:
    """Looks for what speaks for each of ``labels``; the network is computed in single precision.

    Args:
        pixels: uint8 (stored size, stored size, 3).
        labels: places among the bundle's.
    """
    description = bundle.description
    words = words_of(description, bundle.folder)
    network = networks.rebuilt(description, words, bundle.folder)
    network.to("cuda" if torch.cuda.is_available() else "cpu", memory_format=torch.channels_last)
    store = _Held(pixels)
    photo = pl.DataFrame({"image": [0], "caption": [caption]}, {"image": pl.Int32, "caption": str})

    heat: list[np.ndarray | None] = [None] * len(labels)
    found = layers.find(network.backbone, description.image_size) if description.sees_images else []
    if found:
        again = photo[np.zeros(len(labels), int)]
        rows = networks.rows_for(description, again, store, words, targets=None)
        device = next(network.parameters()).device
        [batch] = rows.batches(len(labels), device)
        asked = torch.tensor(list(labels))
        batch = prepared(batch, description)
        heat = list(heatmaps.heat_maps(network, found[-1], batch, asked).cpu().numpy())

    effects: list[Mapping[str, float]] = [{} for _ in labels]
    if description.reads_captions and caption:
        table, each = telling_words.effects(network, description, photo, store, words)
        effects = [dict(zip(table["word"], each[:, n].tolist(), strict=True)) for n in labels]
    return Explanation(heat, effects)

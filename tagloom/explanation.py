"""What in a photo and in its caption speaks for labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch

from stages.bundle.bundle import Bundle
from stages.explain import heat_maps, layers, word_effects
from stages.network import network as networks
from stages.network.network import prepared
from stages.network.tokens import words_of


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


class Explainer:
    """Looks for what speaks for labels, with a network of its own in single precision.

    One thread at a time may ask.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._description = description = bundle.description
        self._words = words_of(description, bundle.folder)
        self._network = networks.rebuilt(description, self._words, bundle.folder)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._network.to(self._device, memory_format=torch.channels_last)
        size = description.input_size
        found = layers.find(self._network.backbone, size) if description.sees_images else []
        self._layer = found[-1] if found else None

    def heat(
        self, pixels: np.ndarray, caption: str | None, labels: Sequence[int]
    ) -> list[np.ndarray | None]:
        """As in ``Explanation``, for the labels at these places among the bundle's.

        Args:
            pixels: uint8 (stored size, stored size, 3).
        """
        if self._layer is None:
            return [None] * len(labels)
        again = _row(caption)[np.zeros(len(labels), int)]
        store = _Held(pixels)
        rows = networks.rows_for(self._description, again, store, self._words, targets=None)
        [batch] = rows.batches(len(labels), self._device)
        batch = prepared(batch, self._description)
        asked = torch.tensor(list(labels))
        return list(heat_maps.of_batch(self._network, self._layer, batch, asked).cpu().numpy())

    def words(
        self, pixels: np.ndarray, caption: str | None, labels: Sequence[int]
    ) -> list[Mapping[str, float]]:
        """As in ``Explanation``, for the labels at these places among the bundle's.

        Args:
            pixels: uint8 (stored size, stored size, 3).
        """
        if not (self._description.reads_captions and caption):
            return [{} for _ in labels]
        photo, store = _row(caption), _Held(pixels)
        table, each = word_effects.effects(
            self._network, self._description, photo, store, self._words
        )
        return [dict(zip(table["word"], each[:, n].tolist(), strict=True)) for n in labels]


def _row(caption: str | None) -> pl.DataFrame:
    """The photo's row, as ``data/records.parquet`` has those of the data set."""
    return pl.DataFrame({"image": [0], "caption": [caption]}, {"image": pl.Int32, "caption": str})


def explain(
    bundle: Bundle, pixels: np.ndarray, caption: str | None, labels: Sequence[int]
) -> Explanation:
    """Looks for what speaks for each of ``labels``, places among the bundle's.

    Args:
        pixels: uint8 (stored size, stored size, 3).
    """
    explainer = Explainer(bundle)
    asked = (pixels, caption, labels)
    return Explanation(explainer.heat(*asked), explainer.words(*asked))

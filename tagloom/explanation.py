"""What in a photo and in its caption speaks for labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch

from stages.bundle.bundle import Bundle
from stages.explain import heat_maps, layers, word_effects
from stages.ingest.images import ImageStore
from stages.network.network import prepared, rebuilt, rows_for
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


class _OnePhoto(ImageStore):
    """One photo in memory, at row 0: uint8 (size, size, 3)."""

    def __init__(self, pixels: np.ndarray) -> None:
        self._shards = [pixels[None]]


class Explainer:
    """Explains labels with the bundle's network, rebuilt in single precision.

    Not safe for several threads at once.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._description = description = bundle.description
        self._words = words_of(description, bundle.folder)
        self._network = rebuilt(description, self._words, bundle.folder)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._network.to(self._device).to(memory_format=torch.channels_last)
        backbone = self._network.backbone  # None: the network does not look at photos
        with_maps = [] if backbone is None else layers.find(backbone, description.input_size)
        self._layer = with_maps[-1] if with_maps else None

    def heat(
        self, pixels: np.ndarray, caption: str | None, labels: Sequence[int]
    ) -> list[np.ndarray | None]:
        """As ``Explanation.heat``.

        Args:
            pixels: uint8 (stored size, stored size, 3).
            labels: their places among the bundle's.
        """
        if self._layer is None:
            return [None] * len(labels)
        again = _row(caption)[np.zeros(len(labels), int)]
        store = _OnePhoto(pixels)
        rows = rows_for(self._description, again, store, self._words, targets=None)
        [batch] = rows.batches(len(labels), self._device)
        batch = prepared(batch, self._description)
        asked = torch.tensor(list(labels))
        return list(heat_maps.of_batch(self._network, self._layer, batch, asked).cpu().numpy())

    def words(
        self, pixels: np.ndarray, caption: str | None, labels: Sequence[int]
    ) -> list[Mapping[str, float]]:
        """As ``Explanation.words``.

        Args:
            pixels: uint8 (stored size, stored size, 3).
            labels: their places among the bundle's.
        """
        if self._words is None or not caption:
            return [{} for _ in labels]
        table, effects = word_effects.effects(
            self._network, self._description, _row(caption), _OnePhoto(pixels), self._words
        )
        return [dict(zip(table["word"], effects[:, n].tolist(), strict=True)) for n in labels]


def _row(caption: str | None) -> pl.DataFrame:
    """The photo's row, as ``data/records.parquet`` has those of the data set."""
    return pl.DataFrame({"image": [0], "caption": [caption]}, {"image": pl.Int32, "caption": str})


def explain(
    bundle: Bundle, pixels: np.ndarray, caption: str | None, labels: Sequence[int]
) -> Explanation:
    """Where in a photo and in which words of its caption something speaks for labels.

    Args:
        pixels: uint8 (stored size, stored size, 3).
        labels: their places among the bundle's.
    """
    explainer = Explainer(bundle)
    return Explanation(
        explainer.heat(pixels, caption, labels), explainer.words(pixels, caption, labels)
    )

"""The network of a bundle, asked what in photos and captions speaks for labels."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import polars as pl
import torch

from stages.bundle.bundle import Bundle
from stages.explain import feature_maps, heat_maps, layers, word_effects
from stages.explain.layers import Layer
from stages.network.network import rebuilt, rows_for
from stages.network.tokens import words_of


class Photos(Protocol):
    """Where photos are: an ``ImageStore``, or what gives photos in memory as it does."""

    @property
    def size(self) -> int: ...

    def gather(self, rows: np.ndarray) -> np.ndarray: ...


class Explainer:
    """Looks for what speaks for labels, with a network of its own in single precision.

    One thread at a time may ask. Photos are asked about by their records: a table with the columns
    ``image``, the row of ``photos``, and ``caption``.

    Attributes:
        layers: those of the backbone that keep maps of a photo; none where no photo is looked at.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._description = bundle.description
        self._words = words_of(bundle.description, bundle.folder)
        self._network = rebuilt(bundle.description, self._words, bundle.folder)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self._network.to(device, memory_format=torch.channels_last)
        self.layers: list[Layer] = []
        if bundle.description.sees_images:
            self.layers = layers.find(self._network.backbone, bundle.description.input_size)

    def heat_maps(self, records: pl.DataFrame, photos: Photos, labels: np.ndarray) -> np.ndarray:
        """A heat map of the last layer for each record and its label: ``heat_maps.of_rows``."""
        rows = rows_for(self._description, records, photos, self._words, targets=None)
        return heat_maps.of_rows(self._network, self._description, self.layers[-1], rows, labels)

    def feature_maps(
        self, records: pl.DataFrame, photos: Photos, shown: Sequence[Layer], channels: int
    ) -> list[np.ndarray]:
        """What some of the layers make of each record's photo: ``feature_maps.of_rows``."""
        rows = rows_for(self._description, records, photos, self._words, targets=None)
        return feature_maps.of_rows(self._network, self._description, shown, rows, channels)

    def word_effects(
        self, records: pl.DataFrame, photos: Photos
    ) -> tuple[pl.DataFrame, np.ndarray]:
        """What each word of each record's caption does: ``word_effects.effects``."""
        return word_effects.effects(self._network, self._description, records, photos, self._words)

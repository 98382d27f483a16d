"""The network of a bundle, asked what in photos and captions speaks for labels."""

from collections.abc import Callable, Sequence

import numpy as np
import polars as pl
import torch

from stages.bundle.bundle import Bundle
from stages.explain import feature_maps, heat_maps, layers, word_effects
from stages.explain.layers import Layer
from stages.ingest.images import ImageStore
from stages.network.network import rebuilt, rows_for
from stages.network.tokens import words_of


class Explainer:
    """Looks for what speaks for labels, with a network of its own in single precision.

    Not safe for several threads at once. Photos are asked about by their records: a table with the
    columns ``image``, the row of the store, and ``caption``.

    Attributes:
        reads_captions: whether ``word_effects`` can be asked for.
        segmentation: what a word of a caption is.
        layers: those of the backbone that keep maps of a photo; none where no photo is looked at.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._description = description = bundle.description
        self._words = words_of(description, bundle.folder)
        self._network = rebuilt(description, self._words, bundle.folder)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._network.to(device).to(memory_format=torch.channels_last)
        backbone = self._network.backbone  # None: the network does not look at photos
        self.layers = [] if backbone is None else layers.find(backbone, description.input_size)
        self.reads_captions = self._words is not None
        self.segmentation = description.segmentation

    def heat_maps(
        self,
        records: pl.DataFrame,
        store: ImageStore,
        labels: np.ndarray,
        advance: Callable[[int], None] = lambda count: None,
    ) -> np.ndarray:
        """A heat map of the last layer for each record and its label: ``heat_maps.of_rows``."""
        rows = rows_for(self._description, records, store, self._words, targets=None)
        layer = self.layers[-1]
        return heat_maps.of_rows(self._network, self._description, layer, rows, labels, advance)

    def feature_maps(
        self, records: pl.DataFrame, store: ImageStore, shown: Sequence[Layer], channels: int
    ) -> list[np.ndarray]:
        """What some of the layers make of each record's photo: ``feature_maps.of_rows``."""
        rows = rows_for(self._description, records, store, self._words, targets=None)
        return feature_maps.of_rows(self._network, self._description, shown, rows, channels)

    def word_effects(
        self, records: pl.DataFrame, store: ImageStore
    ) -> tuple[pl.DataFrame, np.ndarray]:
        """The effect of each word of each record's caption: ``word_effects.effects``."""
        assert self._words is not None, "this network reads no captions"
        return word_effects.effects(self._network, self._description, records, store, self._words)

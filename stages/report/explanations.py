"""What a network looks at and reads, on the photos that ``choice.places`` has chosen."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from stages.explain import feature_maps, heat_maps, layers, word_effects
from stages.explain.layers import Layer
from stages.ingest.images import ImageStore
from stages.network import network as networks
from stages.network.description import Description
from stages.network.nets.classifier import Classifier
from stages.network.network import Words

FEATURE_PHOTOS, FEATURE_CHANNELS = 8, 4
WORDS_OF_A_LABEL, LEAST_CAPTIONS = 12, 3


@dataclass(frozen=True)
class Looks:
    """What a backbone makes of photos.

    Attributes:
        layer: the one that the heat maps are of.
        heat: float32 (places, side, side), as ``heatmaps.heat_maps`` gives them.
        rows: the photos whose feature maps these are.
        stations: an early, a middle and a late layer.
        maps: float32 (rows, channels, side, side) of each of the stations.
    """

    layer: Layer
    heat: np.ndarray
    rows: np.ndarray
    stations: list[Layer]
    maps: list[np.ndarray]


@dataclass(frozen=True)
class Reading:
    """What single words of captions do.

    Attributes:
        captions: how many captions ``strongest`` is a mean over.
        strongest: of ``telling_words.strongest``.
        table, effects: of ``telling_words.effects``, for those captions and the chosen photos'.
    """

    captions: int
    strongest: pl.DataFrame
    table: pl.DataFrame
    effects: np.ndarray

    def words(self, row: int, label: int) -> Mapping[str, float]:
        """The words of a photo's caption, by how much each raises the logit of a label."""
        places = np.flatnonzero(self.table["row"].to_numpy() == row)
        words = self.table["word"].gather(places)
        return dict(zip(words, self.effects[places, label].tolist(), strict=True))


@dataclass(frozen=True)
class Findings:
    """What goes on the page: the places on it, and what has been found out for those.

    Attributes:
        places: of ``choice.places``.
        looks: None where photos are not looked at, or the backbone keeps no maps.
        reading: None where captions are not read.
    """

    places: pl.DataFrame
    looks: Looks | None
    reading: Reading | None

    @property
    def labels(self) -> int:
        """How many labels have a place."""
        return self.places["label"].n_unique()

    @property
    def has_feature_maps(self) -> bool:
        return self.looks is not None and len(self.looks.rows) > 0


def look(
    network: Classifier,
    description: Description,
    words: Words | None,
    photos: pl.DataFrame,
    places: pl.DataFrame,
    store: ImageStore,
) -> Looks | None:
    """Heat maps of the places, and feature maps of the best photo of each of several labels.

    Args:
        photos: records of the photos that ``row`` of ``places`` counts.

    Returns:
        None where the backbone keeps no maps.
    """
    found = layers.find(network.backbone, description.input_size)
    if not found:
        return None
    labels = places["label"].to_numpy()
    chosen = networks.rows_for(description, photos[places["row"]], store, words, targets=None)
    heat = heat_maps.of_rows(network, description, found[-1], chosen, labels)

    best = places.filter(pl.col("kind") == "best").unique(
        "label", keep="first", maintain_order=True
    )
    rows = best["row"].unique(maintain_order=True).head(FEATURE_PHOTOS).to_numpy()
    stations = feature_maps.choose_layers(found)
    shown = networks.rows_for(description, photos[rows], store, words, targets=None)
    maps = feature_maps.of_rows(network, description, stations, shown, FEATURE_CHANNELS)
    return Looks(found[-1], heat, rows, stations, maps)


def read(
    network: Classifier,
    description: Description,
    words: Words,
    photos: pl.DataFrame,
    places: pl.DataFrame,
    store: ImageStore,
    captions: int,
) -> Reading:
    """What the words do in ``captions`` of the captions, spread evenly, and in those of the places.

    Args:
        photos: records of the photos that ``row`` of ``places`` counts.
    """
    given = np.flatnonzero(photos["caption"].is_not_null().to_numpy())
    even = np.linspace(0, len(given) - 1, min(captions, len(given))).round().astype(int)
    sample = given[even]
    asked = np.union1d(sample, places["row"].to_numpy())
    table, effects = word_effects.effects(network, description, photos[asked], store, words)
    table = table.with_columns(row=pl.Series(asked).gather(table["row"]))
    sampled = table["row"].is_in(sample).to_numpy()
    strongest = word_effects.strongest(
        table.filter(sampled),
        effects[sampled],
        description.labels,
        LEAST_CAPTIONS,
        WORDS_OF_A_LABEL,
    )
    return Reading(len(sample), strongest, table, effects)

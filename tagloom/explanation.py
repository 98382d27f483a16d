"""What in a photo and in its caption speaks for labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from stages.bundle.bundle import Bundle
from stages.explain.explainer import Explainer
from stages.ingest.images import ImageStore, RawShard
from stages.progress import on_terminals_only


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
        self.codec, self.shard_rows, self.shards = "raw", 1, [RawShard(pixels[None])]


class PhotoExplainer:
    """Explains labels of photos in memory with the bundle's network, in single precision.

    Not safe for several threads at once.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._explainer = Explainer(bundle)

    def heat(
        self, pixels: np.ndarray, caption: str | None, labels: Sequence[int]
    ) -> list[np.ndarray | None]:
        """As ``Explanation.heat``.

        Args:
            pixels: uint8 (stored size, stored size, 3).
            labels: their places among the bundle's.
        """
        if not self._explainer.layers:
            return [None] * len(labels)
        records = _row(caption)[np.zeros(len(labels), int)]
        return list(self._explainer.heat_maps(records, _OnePhoto(pixels), np.asarray(labels)))

    def words(
        self, pixels: np.ndarray, caption: str | None, labels: Sequence[int]
    ) -> list[Mapping[str, float]]:
        """As ``Explanation.words``.

        Args:
            pixels: uint8 (stored size, stored size, 3).
            labels: their places among the bundle's.
        """
        if not (self._explainer.reads_captions and caption):
            return [{} for _ in labels]
        with on_terminals_only():
            table, effects = self._explainer.word_effects(_row(caption), _OnePhoto(pixels))
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
    explainer = PhotoExplainer(bundle)
    return Explanation(
        explainer.heat(pixels, caption, labels), explainer.words(pixels, caption, labels)
    )

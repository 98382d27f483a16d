"""Which words of a caption speak for a label: leave each one out and see how its logit falls.

Occlusion (Zeiler & Fergus 2014), with words in place of patches (Li et al. 2016). The words are
left out of the text, so it works alike for every encoder, whatever it makes of the text.
"""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import polars as pl
import torch

from stages.ingest.images import ImageStore
from stages.network.description import Description
from stages.network.nets.classifier import Classifier
from stages.network.network import logits, prepared, rows_for
from stages.network.tokens import Words
from stages.progress import Progress, track
from stages.words import Segmentation, words_of

PHOTOS_AT_ONCE = 32
CAPTIONS_AT_ONCE = 256
STRONGEST = pl.Schema(
    {"label": pl.String, "word": pl.String, "captions": pl.Int64, "effect": pl.Float64}
)


def without(caption: str, word: str, segmentation: Segmentation = "letters") -> str:
    """``caption`` with every occurrence of ``word``, one of its words in lower case, left out.

    >>> without("One and one make two", "one")
    'and make two'
    """
    left, end = "", 0
    for found in words_of(caption, segmentation):
        if found.text == word:
            left += caption[end : found.start]
            end = found.end
    return " ".join((left + caption[end:]).split())


def leave_out(
    captions: Iterable[str | None], segmentation: Segmentation = "letters"
) -> pl.DataFrame:
    """Captions with one word left out, for each of their words.

    Returns:
        ``row`` of the caption, ``word``, ``caption`` without it; words in the order in which they
        first stand in the caption.
    """
    variants = [
        (row, word, without(caption, word, segmentation))
        for row, caption in enumerate(captions)
        if caption is not None
        for word in dict.fromkeys(found.text for found in words_of(caption, segmentation))
    ]
    schema = {"row": pl.UInt32, "word": pl.String, "caption": pl.String}
    return pl.DataFrame(variants, schema, orient="row")


def effects(
    network: Classifier,
    description: Description,
    photos: pl.DataFrame,
    store: ImageStore,
    words: Words,
) -> tuple[pl.DataFrame, np.ndarray]:
    """By how much each word of each caption raises the logit of each label.

    The photo stays as it is; what the backbone makes of it is computed once. In single precision.

    Args:
        photos: records of the photos.
        words: what makes numbers of captions for the network.

    Returns:
        A table of ``row`` (of ``photos``) and ``word``, without the words that the network is
        never shown; and float32 (its rows, labels): the logit with the word minus that without.
    """
    variants = leave_out(photos["caption"], description.segmentation)
    encoded = words.encode(photos["caption"])[variants["row"].to_numpy()]
    variants = variants.filter((words.encode(variants["caption"]) != encoded).any(axis=1))
    rows = variants["row"].to_numpy()
    features = mirror_features = None
    if description.sees_images:
        features = [_features(network, description, photos, store)]
        if description.flip:
            mirror_features = _features(network, description, photos, store, mirrored=True)
    device = next(network.parameters()).device

    def logits_of(captions: pl.Series, rows: np.ndarray, progress: Progress) -> np.ndarray:
        shown = photos[rows].with_columns(captions.alias("caption"))
        fed = rows_for(description, shown, store, words, targets=None)
        fed = replace(fed, features=features, mirror_features=mirror_features, images=rows)
        parts = [np.empty((0, len(description.labels)), np.float32)]
        batches = fed.batches(CAPTIONS_AT_ONCE, device)
        for _, part in logits(network, description, batches, "fp32"):
            parts.append(part.cpu().numpy())
            progress.advance(len(part))
        return np.concatenate(parts)

    with Progress("word effects", len(photos) + len(variants), "captions") as progress:
        whole = logits_of(photos["caption"], np.arange(len(photos)), progress)
        left = logits_of(variants["caption"], rows, progress)
    return variants.select("row", "word"), whole[rows] - left


@torch.inference_mode()
def _features(
    network: Classifier,
    description: Description,
    photos: pl.DataFrame,
    store: ImageStore,
    mirrored: bool = False,
) -> np.ndarray:
    """The backbone's features of the photos or their mirror images, float32 (photos, …)."""
    assert network.backbone is not None
    network.eval()
    device = next(network.parameters()).device
    rows = rows_for(description, photos, store, None, targets=None)
    parts = []
    for batch in track(
        rows.batches(PHOTOS_AT_ONCE, device),
        "features",
        -(-len(photos) // PHOTOS_AT_ONCE),
        "batches",
    ):
        seen = prepared(batch, description)
        features = network.backbone((seen.mirrored() if mirrored else seen).images)
        parts.append(features.cpu().numpy())
    return np.concatenate(parts)


def strongest(
    table: pl.DataFrame,
    effects: np.ndarray,
    label_names: list[str],
    least_captions: int,
    most: int,
) -> pl.DataFrame:
    """The words that speak for each label, on average over the captions that hold them.

    Args:
        table, effects: as from ``effects``.
        least_captions: in how many captions a word must be.
        most: so many words a label, those with the largest mean.

    Returns:
        ``label``, ``word``, ``captions`` (that hold the word), ``effect`` (mean, of the logit);
        labels in the given order, then by falling effect.
    """
    words, of = np.unique(table["word"].to_numpy().astype(str), return_inverse=True)
    captions = np.bincount(of, minlength=len(words))
    means = np.zeros((len(words), len(label_names)))
    np.add.at(means, of, effects)
    means /= captions[:, None]
    rows = []
    for label, mean in zip(label_names, means.T, strict=True):
        order = np.argsort(-mean, kind="stable")
        speaking = order[(mean[order] > 0) & (captions[order] >= least_captions)][:most]
        rows += [(label, str(words[w]), int(captions[w]), float(mean[w])) for w in speaking]
    return pl.DataFrame(rows, STRONGEST, orient="row")

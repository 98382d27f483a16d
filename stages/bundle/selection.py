"""Which photos without labels would teach the most: those of ``tagloom next``.

What a photo would teach is taken for how much its labels are in doubt. Photos of the highest doubt
are much alike, though, and of many alike one teaches nearly as much as all. So photos are taken one
after the other, each the one of most doubt for how much it is like those that are taken already:
greedy as maximal marginal relevance (Carbonell and Goldstein 1998), and for a batch of photos to
label, with the same two parts, as BADGE (Ash et al. 2020).
"""

from collections.abc import Iterator

import numpy as np
import polars as pl
from scipy.special import entr, expit, logit

from stages.bundle.model import Model
from stages.ingest.images import ImageStore

RAREST = 1e-3  # fraction of the photos; no label counts as if fewer carried it
LEAST = 1e-6  # probability, of which there is a logit in single precision


def doubts(probabilities: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """How much each label of each photo is in doubt: float64 (photos, labels), from 0.

    It is the entropy, in nats, of a label whose logit is that above the threshold, so that there is
    most of it where the decision could as well be the other, divided by the fraction of the photos
    that probably carry the label: rare labels first, of which there is least to learn from.

    Args:
        probabilities: calibrated, float (photos, labels).
        thresholds: float (labels,), from which on a label holds.
    """
    above = _logits(probabilities) - _logits(thresholds)
    rates = probabilities.mean(axis=0, dtype=np.float64)
    entropies = entr(expit(above)) + entr(expit(-above))
    return np.asarray(entropies / np.sqrt(np.maximum(rates, RAREST)))


def answers(
    model: Model, rows: pl.DataFrame, store: ImageStore, batch_size: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Probabilities and features (``Model.features``) of a project's photos, batch by batch.

    Args:
        rows: columns ``image`` and ``caption`` of ``stages.ingest.records``.
    """
    for part in rows.iter_slices(batch_size):
        sees_images = model.bundle.description.sees_images
        pixels = store.gather(part["image"].to_numpy()) if sees_images else None
        yield model.features(pixels, part["caption"].to_list())


def most_telling(doubt: np.ndarray, features: np.ndarray, count: int) -> np.ndarray:
    """The photos to label next, those that teach most first: int (at most ``count``,), rows.

    Args:
        doubt: of each photo, float (photos,): the sum over its labels.
        features: float32 (photos, features): what the network sees in them.
    """
    centred = features - features.mean(axis=0)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    directions = centred / np.maximum(lengths, np.finfo(np.float32).tiny)
    alike = np.zeros(len(doubt))  # for each, how many of those taken it is like
    left = np.ones(len(doubt), bool)
    chosen = []
    for _ in range(min(count, len(doubt))):
        best = int(np.where(left, doubt / (1 + alike), -1).argmax())
        chosen.append(best)
        left[best] = False
        # Those on the other side of the mean are not alike.
        alike += np.maximum(directions @ directions[best], 0) ** 2
    return np.array(chosen, int)


def _logits(probabilities: np.ndarray) -> np.ndarray:
    likely = np.clip(probabilities.astype(np.float64), LEAST, 1 - LEAST)
    return np.asarray(logit(likely))

"""Which photos would teach the network most, if they were labelled: as ``tagloom next`` says it."""

import numpy as np
import polars as pl

from stages.bundle.bundle import Bundle
from stages.bundle.model import load_model
from stages.bundle.selection import answers, doubts, most_telling
from stages.ingest.images import ImageStore

ASKED = 2000  # of more photos so many are drawn, for a page is not to take hours
SHOWN = 12  # photos …
NAMED = 3  # … and labels of each
BATCH = 64
SEED = 7


def photos_to_label(bundle: Bundle, photos: pl.DataFrame, store: ImageStore) -> dict[str, object]:
    """What the page shows of photos to learn from whose labels are not known.

    Args:
        photos: columns of ``stages.ingest.records``.
        store: with their photos.

    Returns:
        ``unlabelled``, how many there are; ``asked``, of how many of them the network was asked;
        and ``label_next``, their rows with ``why``, those first that teach most.
    """
    unlabelled = photos.filter(pl.col("labels").is_null(), subset="train")
    asked = unlabelled.sample(min(ASKED, len(unlabelled)), seed=SEED)
    content: dict[str, object] = {"unlabelled": len(unlabelled), "asked": len(asked)}
    if asked.is_empty():
        return content | {"label_next": []}
    parts = answers(load_model(bundle.folder), asked, store, BATCH)
    probabilities, features = (np.concatenate(each) for each in zip(*parts, strict=True))
    doubt = doubts(probabilities, bundle.thresholds)
    rows = most_telling(doubt.sum(axis=1), features, SHOWN)
    most = np.argsort(-doubt[rows], axis=1)[:, :NAMED]
    why = [
        [(bundle.labels[place], float(probabilities[row, place])) for place in places]
        for row, places in zip(rows, most, strict=True)
    ]
    shown = asked[rows].to_dicts()
    return content | {"label_next": [each | {"why": w} for each, w in zip(shown, why, strict=True)]}

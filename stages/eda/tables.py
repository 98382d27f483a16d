"""An overview as the tables of ``metrics/eda`` and the figures of ``metrics/eda.json``."""

from typing import Any

import numpy as np
import polars as pl

from stages.eda.overview import Overview
from stages.eda.statistics import named
from stages.ingest.records import SUBSETS

MOST_ROWS = 30  # of label sets and of sizes: the tables are kept in Git
MOST_LABELS = 100  # in the table of co-occurrences, for the same reason


def tables(overview: Overview) -> dict[str, pl.DataFrame]:
    """What goes to ``metrics/eda``, in the order it is shown there."""
    order = overview.label_names[:MOST_LABELS]
    row, column = np.nonzero(overview.cooccurrence[: len(order), : len(order)])
    both = overview.cooccurrence[row, column]
    pairs = {
        "label": [order[i] for i in row],
        "other": [order[i] for i in column],
        "photos": both,
        "share": both / overview.carriers[row, column],  # of the photos of ``label``
    }
    size = pl.format("{} × {}", "width", "height")
    return {
        "labels": overview.labels,
        "labels_per_photo": overview.per_photo,
        "label_sets": named(overview.sets).head(MOST_ROWS),
        "cooccurrence": pl.DataFrame(pairs),
        "sizes": overview.sizes.select(size.alias("size"), pl.all()).head(MOST_ROWS),
        "caption_lengths": overview.caption_lengths,
        "top_words": overview.top_words,
        "telling_words": overview.telling_words,
    }


def measure(overview: Overview) -> dict[str, Any]:
    """``metrics/eda.json``: few figures, those that a new delivery of photos may change."""
    photos, labels_of_photo = overview.photos, overview.labelled["labels"].list.len()
    all_known = overview.labelled["unknown"].is_null()
    some_unknown = {"with_unknown_labels": (~all_known).sum()} if not all_known.all() else {}
    captions, subset = photos["caption"], photos["subset"]
    count, listed = overview.missing
    return {
        "photos": {
            **{name: (subset == name).sum() for name in SUBSETS},
            "labelled": len(overview.labelled),
            "without_any_label": ((labels_of_photo == 0) & all_known).sum(),
            "with_one_label": (labels_of_photo == 1).sum(),
            **some_unknown,
        },
        "labels": {
            "names": len(overview.labels),
            "never_used": (overview.labels["photos"] == 0).sum(),
            "missing": count,
            "missing_ids": listed,
            "sets": len(overview.sets),
            "per_photo": _spread(labels_of_photo),
            "rate": _spread(overview.labels["rate"]),
            **({"known": _spread(overview.labels["known"])} if some_unknown else {}),
            "cooccurrence_ratio": _spread(overview.labels["ratio"]),
        },
        "sizes": {
            "distinct": len(overview.sizes),
            "width": _spread(photos["width"]),
            "height": _spread(photos["height"]),
            "landscape": (photos["width"] > photos["height"]).sum(),
            "square": (photos["width"] == photos["height"]).sum(),
            "portrait": (photos["width"] < photos["height"]).sum(),
        },
        "captions": {
            **{name: captions.filter(subset == name).count() for name in SUBSETS},
            "distinct": captions.drop_nulls().n_unique(),
            "length": _spread(overview.words.list.len()),
            "words": overview.words.explode(empty_as_null=False).drop_nulls().n_unique(),
        },
    }


def _spread(values: pl.Series) -> dict[str, Any]:
    """Least, median, mean and most of the values that are known; empty where none is."""
    if values.count() == 0:
        return {}
    return {
        "min": values.min(),
        "median": values.median(),
        "mean": values.mean(),
        "max": values.max(),
    }

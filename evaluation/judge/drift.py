"""How the photos that came since differ from those that a model was trained with."""

from typing import Any

import numpy as np
import polars as pl

from stages.ingest.records import known_matrix, label_matrix
from stages.network.description import Description
from stages.vocab import vocabulary


def drift(
    before: pl.DataFrame,
    now: pl.DataFrame,
    labels_before: list[str],
    labels_now: list[str],
    description: Description,
) -> dict[str, Any]:
    """Figures of the records that the model knew, ``before``, beside those of the new ones.

    Both are columns of ``stages.ingest.records``. New is what of ``now`` has another file
    (``sha256``) than all of ``before``. A figure of no photo, or of no caption, is None.

    Args:
        description: of the model; its vocabulary says which words it knows. A transformer's
            tokens cover every word, so there the share of unknown words is None.
    """
    new = now.join(before, on="sha256", how="anti", maintain_order="left")
    sides = {"before": before, "new": new}
    return {
        "photos": {side: len(table) for side, table in sides.items()},
        "label_rates": {
            name: {side: rates.get(name) for side, rates in _rates(sides, labels_now).items()}
            for name in labels_now
        },
        "new_labels": [name for name in labels_now if name not in labels_before],
        "gone_labels": [name for name in labels_before if name not in labels_now],
        "unknown_words": {s: _unknown_words(t, description) for s, t in sides.items()},
        "median_size": {side: _median_size(table) for side, table in sides.items()},
    }


def _rates(sides: dict[str, pl.DataFrame], names: list[str]) -> dict[str, dict[str, float]]:
    """How many carry each label of a side's photos of which that is known; nothing of no photo."""
    rates_by_side: dict[str, dict[str, float]] = {}
    for side, table in sides.items():
        labelled = table.filter(pl.col("labels").is_not_null())
        kept = labelled.select(
            pl.col("labels", "unknown").list.eval(pl.element().filter(pl.element().is_in(names)))
        )
        truth, known = label_matrix(kept["labels"], names), known_matrix(kept["unknown"], names)
        known = np.ones_like(truth) if known is None else known
        photos, carried = known.sum(axis=0), (truth & known).sum(axis=0)
        rates_by_side[side] = {
            name: float(carried[i] / photos[i]) for i, name in enumerate(names) if photos[i]
        }
    return rates_by_side


def _unknown_words(table: pl.DataFrame, description: Description) -> float | None:
    if not description.reads_captions or description.has_transformer:
        return None
    known = vocabulary.from_json(description.vocabulary)
    words = known.normalized(table["caption"])["word"]
    return float((~words.is_in(known.words)).to_numpy().mean()) if len(words) else None


def _median_size(table: pl.DataFrame) -> list[float] | None:
    """Width and height in pixels."""
    if len(table) == 0:
        return None
    return [float(np.median(table[side].to_numpy())) for side in ("width", "height")]

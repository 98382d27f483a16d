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

    Returns:
        Beside the rates of labels ``label_known``, of how many photos each label is known, unless
        all labels are of all photos that have any.
    """
    new = now.join(before, on="sha256", how="anti", maintain_order="left")
    sides = {"before": before, "new": new}
    counts = {side: _counts(table, labels_now) for side, table in sides.items()}
    figures: dict[str, Any] = {
        "photos": {side: len(table) for side, table in sides.items()},
        "label_rates": {
            name: {
                s: float(carried[i] / of[i]) if of[i] else None
                for s, (carried, of) in counts.items()
            }
            for i, name in enumerate(labels_now)
        },
        "new_labels": [name for name in labels_now if name not in labels_before],
        "gone_labels": [name for name in labels_before if name not in labels_now],
        "unknown_words": {s: _unknown_words(t, description) for s, t in sides.items()},
        "median_size": {side: _median_size(table) for side, table in sides.items()},
    }
    if any(table["unknown"].is_not_null().any() for table in sides.values()):
        figures["label_known"] = {
            name: {side: int(known[i]) for side, (_, known) in counts.items()}
            for i, name in enumerate(labels_now)
        }
    return figures


def _counts(table: pl.DataFrame, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """How many photos carry each label, and of how many that is known: int (labels,) each."""
    labelled = table.filter(pl.col("labels").is_not_null())
    kept = labelled.select(
        pl.col("labels", "unknown").list.eval(pl.element().filter(pl.element().is_in(names)))
    )
    truth, known = label_matrix(kept["labels"], names), known_matrix(kept["unknown"], names)
    known = np.ones_like(truth) if known is None else known
    return (truth & known).sum(axis=0), known.sum(axis=0)


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

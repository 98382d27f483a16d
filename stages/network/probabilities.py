"""A table of ids with a probability for each label: ``data/validation.parquet`` and predict's.

Columns: ``id`` String; ``labels`` List(String), the true ones, null where they are not known;
``probabilities`` Array(Float32, labels), in the order of the label names, which are kept in the
file's own metadata. Where some are not known of a photo whose labels are, there is also ``unknown``
List(String), as in the records. Reading and writing it needs no torch.
"""

import json
from pathlib import Path

import numpy as np
import polars as pl

from stages.files import whole

VALIDATION = Path("data/validation.parquet")
UNKNOWN = pl.List(pl.String)


def probability_table(
    ids: pl.Series,
    labels: pl.Series,
    probabilities: np.ndarray,
    unknown: pl.Series | None = None,
) -> pl.DataFrame:
    """The table described above, with ``unknown``.

    Args:
        ids: String (rows,).
        labels: List(String) (rows,).
        probabilities: float32 (rows, labels).
        unknown: List(String) (rows,); None: all labels are known, but where ``labels`` is null.
    """
    width = probabilities.shape[1]
    table = pl.DataFrame(
        [
            ids.alias("id"),
            labels.alias("labels"),
            pl.Series("probabilities", probabilities, pl.Array(pl.Float32, width)),
        ]
    )
    return table.with_columns(unknown=pl.lit(None, UNKNOWN) if unknown is None else unknown)


def write_probabilities(
    probabilities: pl.DataFrame, label_names: list[str], path: Path = VALIDATION
) -> None:
    """Writes a table as ``probability_table`` makes it, with the names of its labels, in order."""
    if "unknown" in probabilities and probabilities["unknown"].null_count() == len(probabilities):
        probabilities = probabilities.drop("unknown")
    with whole(path) as temporary:
        probabilities.write_parquet(temporary, metadata={"labels": json.dumps(label_names)})


def read_probabilities(path: Path = VALIDATION) -> pl.DataFrame:
    """The table that ``write`` wrote; ``unknown`` is null where nothing else is said of it."""
    table = pl.read_parquet(path)
    return table if "unknown" in table else table.with_columns(unknown=pl.lit(None, UNKNOWN))


def read_label_names(path: Path = VALIDATION) -> list[str]:
    """The names of the labels, in the order of the probabilities."""
    names: list[str] = json.loads(pl.read_parquet_metadata(path)["labels"])
    return names

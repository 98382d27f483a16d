"""``data/records.parquet``: what is known of each photo, a row a photo, in the source's order.

=========  ================  ==============================================================
column     type              meaning
=========  ================  ==============================================================
id         String            the source's name for the photo, unique
subset     String            ``train`` or ``test``
labels     List(String)      null: none is known; empty: known to have none
caption    String            null: none given
width      Int32             pixels, as it is seen (EXIF orientation applied)
height     Int32             pixels
sha256     String            of the photo's file
dhash      UInt64            difference hash, alike for near-identical photos; null: too plain
image      Int32             its row in the image store
delivery   Int32             0: the root's own; else the number of the delivery that it came with
=========  ================  ==============================================================

Where a photo has one, there are also these; they are null where a photo has none:

=========  ================  ==============================================================
unknown    List(String)      with ``labels``: those of which it is not known whether it has them
group      String            what it has in common with photos much alike, as a patient
time       Datetime          when it was taken, UTC
part       String            ``train`` or ``validation``, as the source has parted its photos
=========  ================  ==============================================================

The label names, in the order every matrix of the pipeline has them, are kept in the file's own
metadata: a name that no photo carries is still a label.
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import polars as pl

from stages.files import whole
from stages.ingest.naming import SEPARATOR

RECORDS = Path("data/records.parquet")
ROW_GROUP = 16_384  # rows that are encoded in memory at a time
SUBSETS = ("train", "test")
SCHEMA = pl.Schema(
    {
        "id": pl.String(),
        "subset": pl.String(),
        "labels": pl.List(pl.String),
        "caption": pl.String(),
        "width": pl.Int32(),
        "height": pl.Int32(),
        "sha256": pl.String(),
        "dhash": pl.UInt64(),
        "image": pl.Int32(),
        "delivery": pl.Int32(),
    }
)
OPTIONAL = pl.Schema(
    {
        "unknown": pl.List(pl.String),
        "group": pl.String(),
        "time": pl.Datetime("us", "UTC"),
        "part": pl.String(),
    }
)


def write(
    records: pl.DataFrame | pl.LazyFrame, label_names: list[str], path: Path = RECORDS
) -> None:
    """Writes ``records`` with the names of all labels, in order.

    Args:
        records: columns of ``SCHEMA``, and those of ``OPTIONAL`` that there are; of these, the ones
            in which no photo has anything are left out.
    """
    records = records.lazy()
    optional = [name for name in records.collect_schema() if name in OPTIONAL]
    some = records.select(pl.col(optional).is_not_null().any()).collect(engine="streaming")
    there = [name for name in optional if some[name].item()]
    schema = SCHEMA | {name: OPTIONAL[name] for name in there}
    with whole(path) as temporary:
        records.drop(set(optional).difference(there)).match_to_schema(schema).sink_parquet(
            temporary,
            metadata={"labels": json.dumps(label_names)},
            row_group_size=ROW_GROUP,
        )


def read(path: Path = RECORDS) -> pl.DataFrame:
    """The records, columns of ``SCHEMA`` and ``OPTIONAL``."""
    table = pl.read_parquet(path)
    absent = {name: pl.lit(None, kind) for name, kind in OPTIONAL.items() if name not in table}
    return table.with_columns(**absent)


def read_label_names(path: Path = RECORDS) -> list[str]:
    """The names of all labels, in the order of every matrix's columns."""
    names: list[str] = json.loads(pl.read_parquet_metadata(path)["labels"])
    return names


def separator(label_names: Iterable[str]) -> str:
    """What stands between the labels of a predicted row: a blank, unless names hold blanks."""
    return SEPARATOR if any(len(name.split()) > 1 for name in label_names) else " "


def in_natural_order(names: Iterable[str]) -> list[str]:
    """Sorts names as people do: ``2`` before ``10``, ``im9`` before ``im10``."""

    def key(name: str) -> list[tuple[int, int, str]]:
        parts = re.findall(r"\d+|\D+", name)
        return [(0, int(p), p) if p.isdecimal() else (1, 0, p) for p in parts]

    return sorted(names, key=key)


def label_matrix(labels: pl.Series, label_names: list[str]) -> np.ndarray:
    """Label lists as a bool matrix (rows × labels), columns in the order of ``label_names``.

    ``labels`` is a List(String) series without nulls, all of its names in ``label_names``.
    """
    matrix = np.zeros((len(labels), len(label_names)), bool)
    rows = np.repeat(np.arange(len(labels)), labels.list.len().to_numpy())
    names = labels.explode(empty_as_null=False)
    matrix[rows, names.cast(pl.Enum(label_names)).to_physical().to_numpy()] = True
    return matrix


def known_matrix(unknown: pl.Series, label_names: list[str]) -> np.ndarray | None:
    """Which labels are known, as a bool matrix (rows × labels); None where all of them are.

    ``unknown`` is the List(String) series of the records; null: everything is known.
    """
    some = unknown.is_not_null()
    if not some.any():
        return None
    known = np.ones((len(unknown), len(label_names)), bool)
    known[some.to_numpy()] = ~label_matrix(unknown.filter(some), label_names)
    return known


def label_lists(matrix: np.ndarray, label_names: list[str]) -> pl.Series:
    """The inverse of ``label_matrix``: a List(String) series, names in the matrix's order."""
    names = np.asarray(label_names, object)
    return pl.Series("labels", [list(names[row]) for row in matrix], pl.List(pl.String))

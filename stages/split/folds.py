"""``data/folds.parquet``: the part that each labelled photo of subset ``train`` plays.

======  ======  ============================================================================
column  type    meaning
======  ======  ============================================================================
id      String  as in the records
fold    Int32   number of the fold; with one split: 0 validation, 1 train; -1: holdout
part    String  ``train``, ``validation`` or ``holdout``, which ``predict`` alone looks at
======  ======  ============================================================================

Photos of subset ``test``, and photos whose labels are not known, are not listed.
"""

from pathlib import Path

import polars as pl

from stages.files import whole

FOLDS = Path("data/folds.parquet")
HOLDOUT = "holdout"
PARTS = ("train", "validation", HOLDOUT)
SCHEMA = pl.Schema({"id": pl.String, "fold": pl.Int32, "part": pl.String})


def write(folds: pl.DataFrame, path: Path = FOLDS) -> None:
    """Writes ``folds`` (columns of ``SCHEMA``), whole or not at all."""
    with whole(path) as temporary:
        folds.match_to_schema(SCHEMA).write_parquet(temporary)


def read(path: Path = FOLDS) -> pl.DataFrame:
    """The part of each labelled photo, columns of ``SCHEMA``."""
    return pl.read_parquet(path)


def rows_of(records: pl.DataFrame, folds: pl.DataFrame, part: str) -> pl.DataFrame:
    """The records of ``part`` (one of ``PARTS``), in the records' order."""
    ids = folds.filter(pl.col("part") == part).select("id")
    return records.join(ids, on="id", how="semi", maintain_order="left")


def rows_for_predict(records: pl.DataFrame, folds: pl.DataFrame) -> pl.DataFrame:
    """The records that no stage before predict measures on: of subset test, then the holdout's."""
    return pl.concat([records.filter(subset="test"), rows_of(records, folds, HOLDOUT)])

"""``table``: one CSV or Parquet file, with one-hot columns or one column of label lists.

Labels that are null are not known. A CSV cannot tell null from an empty list; there, an empty
cell means no label for a train photo, and not known for a test photo.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from stages import UserError
from stages.ingest.records import SUBSETS
from stages.ingest.sources import Row, Unreadable
from stages.params import Section


class Options(Section):
    file: str
    photos: str
    id: str
    labels: str | list[str] | None
    caption: str | None
    subset: str | None
    delimiter: str
    separator: str


def rows(root: Path, options: Options) -> Iterator[Row | Unreadable]:
    table = _read(root / options.file, options)
    used = [name for name in (options.id, options.caption, options.subset) if name]
    one_hot: list[str] = []
    if isinstance(options.labels, str):
        used.append(options.labels)
    else:
        one_hot = options.labels or [name for name in table.columns if name not in used]
        used += one_hot
    for name in used:
        if name not in table.columns:
            raise UserError(
                f"{root / options.file} has no column {name!r}; it has {', '.join(table.columns)}"
            )
    parquet = _is_parquet(root / options.file)
    for number, record in enumerate(table.iter_rows(named=True), 1 if parquet else 2):
        try:
            subset = _subset(record[options.subset]) if options.subset else "train"
            if one_hot:
                labels = _one_hot(record, one_hot)
            else:
                labels = _label_list(record[options.labels], options.separator)
            if labels is None and subset == "train" and not parquet:
                labels = []
            yield Row(
                file=options.file,
                row=number,
                id=_id(record[options.id]),
                photo=f"{options.photos}/{record[options.id]}",
                subset=subset,
                labels=labels,
                caption=record[options.caption] if options.caption else None,
            )
        except ValueError as error:
            yield Unreadable(options.file, number, str(error))


def _read(path: Path, options: Options) -> pl.DataFrame:
    try:
        if _is_parquet(path):
            return pl.read_parquet(path)
        # Everything as text: 007 is an id, not a number.
        return pl.read_csv(path, separator=options.delimiter, infer_schema=False)
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist (see ingest.root, ingest.table.file)") from error
    except (pl.exceptions.PolarsError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} cannot be read as a table (ingest.table.delimiter is "
            f"{options.delimiter!r}): {error}"
        ) from error


def _is_parquet(path: Path) -> bool:
    return path.suffix.lower() in (".parquet", ".pq")


def _id(value: Any) -> str:
    if value is None or value == "":
        raise ValueError("the id is empty")
    return str(value)


def _subset(value: Any) -> str:
    if value not in SUBSETS:
        raise ValueError(f"the subset is {value!r}; it must be one of {', '.join(SUBSETS)}")
    return value


def _label_list(value: Any, separator: str) -> list[str] | None:
    if value is None:
        return None
    names = value if isinstance(value, list) else str(value).split(separator)
    return [str(name).strip() for name in names if str(name).strip()]


def _one_hot(record: dict[str, Any], columns: list[str]) -> list[str] | None:
    """The columns that say yes; None where they all are empty."""
    values = [record[name] for name in columns]
    if all(value in (None, "") for value in values):
        return None
    yes, no = (1, True, "1", "1.0", "true", "True"), (0, False, "0", "0.0", "false", "False")
    for name, value in zip(columns, values, strict=True):
        if value not in yes and value not in no:
            raise ValueError(f"column {name} is {value!r}; a one-hot column holds 0 or 1")
    return [name for name, value in zip(columns, values, strict=True) if value in yes]

"""``table``: one CSV or Parquet file, with one-hot columns or one column of label lists.

Labels that are null are not known. A CSV cannot tell null from an empty list; there, an empty
cell of labels means no label for a train photo, and not known for a test photo. One-hot columns
can tell: 0 everywhere is no label, nothing anywhere is not known.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import polars as pl
from pydantic import Field

from stages import UserError
from stages.csv_tables import Table, csv_table
from stages.ingest import naming
from stages.ingest.records import SUBSETS
from stages.ingest.sources import Columns, Row, Unreadable, below, read_text
from stages.params import Section

YES, NO = (1, "1", "1.0", "true"), (0, "0", "0.0", "false")


class Options(Section):
    file: str
    photos: str
    id: str
    labels: str | list[str] | None
    caption: str | None
    subset: str | None
    delimiter: Annotated[str, Field(min_length=1, max_length=1)]
    separator: Annotated[str, Field(min_length=1)]


def rows(root: Path, options: Options) -> Iterator[Row | Unreadable]:
    path = root / options.file
    read = _read_parquet if _is_parquet(path) else _read_csv
    columns, records = read(root, options)
    one_hot = _one_hot_columns(path, columns, options)
    for number, record in records:
        if isinstance(record, str):
            yield Unreadable(options.file, number, record)
            continue
        try:
            subset = _subset(record[options.subset]) if options.subset else "train"
            if isinstance(options.labels, str):
                labels = _label_list(record[options.labels], options.separator)
                if labels is None and subset == "train" and not _is_parquet(path):
                    labels = []
            else:
                labels = _one_hot(record, one_hot)
            caption = record[options.caption] if options.caption else None
            yield Row(
                file=options.file,
                row=number,
                id=_id(record[options.id]),
                photo=f"{options.photos}/{record[options.id]}",
                subset=subset,
                labels=labels,
                caption=None if caption is None else str(caption),
            )
        except ValueError as error:
            yield Unreadable(options.file, number, str(error))


def columns(root: Path, options: Options) -> Columns:
    path = root / options.file
    if _is_parquet(path):
        names = list(pl.read_parquet_schema(path))
    else:
        names, _ = _read_csv(root, options)
    used = {options.id, options.caption, options.subset}
    if isinstance(options.labels, str):
        labels = [options.labels]
    else:
        labels = _one_hot_columns(path, names, options)
    return Columns(labels, [name for name in names if name not in used.union(labels)])


def _one_hot_columns(path: Path, columns: list[str], options: Options) -> list[str]:
    """The one-hot columns, none where there is a column of label lists."""
    used = [name for name in (options.id, options.caption, options.subset) if name]
    one_hot: list[str] = []
    if isinstance(options.labels, str):
        used.append(options.labels)
    else:
        one_hot = options.labels or [name for name in columns if name not in used]
    for name in [*used, *one_hot]:
        if name not in columns:
            raise UserError(f"{path} has no column {name!r}; it has {', '.join(columns)}")
        if columns.count(name) > 1:
            raise UserError(f"{path} has {columns.count(name)} columns named {name!r}")
    if not one_hot and not isinstance(options.labels, str):
        raise UserError(f"{path} has no column of labels beside {', '.join(used)}")
    naming.check(one_hot, f"{path}, its columns of labels")
    return one_hot


def _read_parquet(root: Path, options: Options) -> Table:
    path = below(root, options.file)
    try:
        table = pl.read_parquet(path)
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist (see ingest.root, ingest.table.file)") from error
    except pl.exceptions.PolarsError as error:
        raise UserError(f"{path} cannot be read as Parquet: {error}") from error
    return table.columns, enumerate(table.iter_rows(named=True), 1)


def _read_csv(root: Path, options: Options) -> Table:
    return csv_table(root / options.file, read_text(root, options.file), options.delimiter)


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
    return [str(name).strip() for name in names if name is not None and str(name).strip()]


def _one_hot(record: dict[str, Any], columns: list[str]) -> list[str] | None:
    """The columns that say yes; None where they all are empty."""
    if all(record[name] is None for name in columns):
        return None
    labels = []
    for name in columns:
        value = record[name]
        value = value.strip().lower() if isinstance(value, str) else value
        if value in YES:
            labels.append(name)
        elif value not in NO:
            raise ValueError(f"column {name} is {record[name]!r}; a one-hot column holds 0 or 1")
    return labels

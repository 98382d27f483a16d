"""Tables in files: CSV and its like, JSON Lines, Excel and Parquet, packed with gzip or not."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import polars.selectors as cs

from stages import UserError
from stages.csv_tables import csv_rows
from stages.ingest.tables.text import find_delimiter, find_encoding, lines

PARQUET, EXCEL = (".parquet", ".pq"), (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")
JSON_LINES = (".jsonl", ".ndjson")
KEYS_IN = 1000  # objects of JSON Lines, whose keys are the columns

BATCH = 256  # rows; with many, each is out of the processor's cache before it is used


class Batch(NamedTuple):
    """Rows of a table, as its columns.

    Attributes:
        numbers: of the rows, from 1; those of their lines, where the file has lines.
        columns: the cells of each column.
        faults: the numbers of further rows that cannot be read, and why.
    """

    numbers: Sequence[int]
    columns: list[Sequence[Any]]
    faults: Sequence[tuple[int, str]] = ()


class Table(NamedTuple):
    """A table in a file.

    Attributes:
        columns: their names; one that has none is called ``column 1``, by its place.
        types: Parquet's types of the columns; empty where a file has none.
        tells_empty: whether a cell can hold nothing, as opposed to an empty text or list.
        read: given names of columns, yields these of all rows.
        is_guessed: whether the encoding is cp1252 because it is none that can be told.
    """

    columns: list[str]
    types: dict[str, pl.DataType]
    tells_empty: bool
    read: Callable[[Sequence[str]], Iterator[Batch]]
    is_guessed: bool = False


def open_table(
    path: Path, encoding: str | None, delimiter: str | None, named: Sequence[str]
) -> Table:
    """The table in ``path``, whose kind its suffix says.

    Args:
        encoding, delimiter: of a text file; None: found.
        named: columns that it should have.

    Raises:
        UserError: it is missing, or is not what its suffix says, or a named column is not there
            just once.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    suffix = suffixes[-2] if suffixes[-1:] == [".gz"] and suffixes[1:] else "".join(suffixes[-1:])
    if not path.is_file():
        raise UserError(f"{path} does not exist (see ingest.root, ingest.table.file)")
    if suffix in PARQUET:
        table = _parquet(path)
    elif suffix in EXCEL:
        table = _excel(path)
    else:
        known = encoding or find_encoding(path)
        make = _json_lines if suffix in JSON_LINES else _csv
        table = make(path, known, delimiter, named)
        table = table._replace(is_guessed=known == "cp1252" and not encoding)
    for name in named:
        if name not in table.columns:
            raise UserError(f"{path} has no column {name!r}; it has {', '.join(table.columns)}")
        if table.columns.count(name) > 1:
            raise UserError(f"{path} has {table.columns.count(name)} columns named {name!r}")
    return table


def _clear(columns: Sequence[str]) -> list[str]:
    return [name.strip() or f"column {number}" for number, name in enumerate(columns, 1)]


def nameless(columns: Sequence[str]) -> list[str]:
    """Those of the ``columns`` that have no name of their own, such as pandas' index."""
    index = [name for name in columns if name.startswith("__index_level_")]
    return index + [name for number, name in enumerate(columns, 1) if name == f"column {number}"]


def _csv(path: Path, encoding: str, delimiter: str | None, named: Sequence[str]) -> Table:
    header = next(lines(path, encoding), "")
    mark = delimiter or find_delimiter(header, named)
    columns = _clear(csv_rows(path, lines(path, encoding), mark)[0])

    def read(names: Sequence[str]) -> Iterator[Batch]:
        _, records = csv_rows(path, lines(path, encoding), mark)
        places = [columns.index(name) for name in names]
        for rows, faults in _parted(records):
            numbers, cells = zip(*rows, strict=True) if rows else ((), ())
            by_column = list(zip(*cells, strict=True)) or [()] * len(columns)
            yield Batch(numbers, [by_column[place] for place in places], faults)

    return Table(columns, {}, False, read)


def _parted(
    records: Iterator[tuple[int, Any]],
) -> Iterator[tuple[list[tuple[int, Any]], list[tuple[int, str]]]]:
    """Batches of the records that can be read, and of those that cannot: their fault is text."""
    while batch := list(islice(records, BATCH)):
        faults = [record for record in batch if record[1].__class__ is str]
        yield [record for record in batch if record[1].__class__ is not str], faults


def _json_lines(path: Path, encoding: str, _: str | None, __: Sequence[str]) -> Table:
    def objects() -> Iterator[tuple[int, dict[str, Any] | str]]:
        for number, line in enumerate(lines(path, encoding), 1):
            if not line.strip():
                continue
            try:
                content = json.loads(line)
            except ValueError as error:
                content = error
            if isinstance(content, dict):
                yield number, content
            else:
                yield number, "the line holds no JSON object, as those of JSON Lines do"

    known = {
        name: None
        for _, content in islice(objects(), KEYS_IN)
        if isinstance(content, dict)
        for name in content
    }

    def with_known_keys() -> Iterator[tuple[int, dict[str, Any] | str]]:
        for number, content in objects():
            if isinstance(content, dict) and not content.keys() <= known.keys():
                strange = ", ".join(sorted(content.keys() - known.keys()))
                yield number, f"it has {strange}, as none of the first {KEYS_IN:,} rows has"
            else:
                yield number, content

    def read(names: Sequence[str]) -> Iterator[Batch]:
        for rows, faults in _parted(with_known_keys()):
            columns = [[content.get(name) for _, content in rows] for name in names]
            yield Batch([number for number, _ in rows], [*columns], faults)

    return Table(list(known), {}, True, read)


def _excel(path: Path) -> Table:
    try:
        frame = pl.read_excel(path, infer_schema_length=None)
    except ModuleNotFoundError as error:
        raise UserError(
            f"{path}: Excel needs fastexcel, which is missing: pip install 'tagloom[excel]', or "
            "save the sheet as CSV"
        ) from error
    except Exception as error:  # each of Polars' engines has its own
        raise UserError(f"{path} cannot be read as Excel: {error}") from error
    # As fastexcel calls a column without a name, by its place.
    named = [re.sub(r"^__UNNAMED__\d+$", "", name) for name in frame.columns]
    columns = frame.columns = _clear(named)
    frame = frame.with_columns(cs.string().fill_null(""))

    def read(names: Sequence[str]) -> Iterator[Batch]:
        return _of_frame(frame.select(names), 2)  # the header is row 1

    return Table(columns, {}, False, read)


def _parquet(path: Path) -> Table:
    try:
        types = dict(pl.read_parquet_schema(path))
    except pl.exceptions.PolarsError as error:
        raise UserError(f"{path} cannot be read as Parquet: {error}") from error
    columns = _clear(list(types))

    def read(names: Sequence[str]) -> Iterator[Batch]:
        own = [list(types)[columns.index(name)] for name in names]
        # NaN is not itself: what has been said of such a cell would never be found again.
        frame = pl.read_parquet(path, columns=own).select(own)
        return _of_frame(frame.with_columns(cs.float().fill_nan(None)), 1)

    return Table(columns, dict(zip(columns, types.values(), strict=True)), True, read)


def _of_frame(frame: pl.DataFrame, first: int) -> Iterator[Batch]:
    for part in frame.iter_slices(BATCH):
        yield Batch(range(first, first + len(part)), [column.to_list() for column in part])
        first += len(part)


def numbered_labels(path: Path, column: str) -> list[str] | None:
    """The names of the numbers in a ``column`` of Parquet, where Hugging Face's datasets wrote it.

    (https://huggingface.co/docs/datasets: ``ClassLabel``, alone or in a list.)
    """
    try:
        notes = json.loads(pl.read_parquet_metadata(path).get("huggingface", "null"))
        feature = notes["info"]["features"][column]
        feature = feature[0] if isinstance(feature, list) else feature.get("feature", feature)
        return [str(name) for name in feature["names"]]
    except (ValueError, TypeError, KeyError, AttributeError, IndexError):
        return None

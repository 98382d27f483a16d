"""The tables below a folder, and what their first rows hold."""

import re
from collections import defaultdict
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from experiments.look.columns import Column
from experiments.look.index import Index
from experiments.look.parts import TEST, part_of
from stages import UserError
from stages.ingest.tables.files import (
    EXCEL,
    JSON_LINES,
    PARQUET,
    Table,
    nameless,
    numbered_labels,
    open_table,
)
from stages.ingest.tables.text import DELIMITERS

TEXT = (".csv", ".tsv", *JSON_LINES)
SUFFIXES = (*TEXT, *(f"{suffix}.gz" for suffix in TEXT), *PARQUET, *EXCEL)
ROWS = 20_000  # that are looked at


class Sheet(NamedTuple):
    """A table, in one file or in several, and what its first rows hold.

    Attributes:
        file: the option ``file``: a path below the root, or a pattern.
        path: the first file.
        columns: by name, without those that have none.
        images: the columns of Parquet whose cells hold photos.
        siblings: other tables with the same columns, and those of test photos with some of them.
    """

    file: str
    path: Path
    columns: dict[str, Column]
    images: list[str]
    siblings: tuple["Sheet", ...] = ()


def sheets(index: Index, troubles: list[str]) -> Iterator[Sheet]:
    """The tables; those whose names differ only in digits are one, in several files.

    Adds what cannot be read to ``troubles``.
    """
    alike: dict[tuple[Any, str], list[Sheet]] = defaultdict(list)
    for file in index.with_suffix(*SUFFIXES):
        try:
            sheet = _sheet(index.root / file, file)
        except UserError as error:
            troubles.append(str(error))
        else:
            alike[tuple(sheet.columns), _pattern(file)].append(sheet)
    found = [_together(parts, pattern) for (_, pattern), parts in alike.items()]
    for sheet in found:
        others = (each for each in found if each is not sheet and _is_sibling(each, sheet))
        yield sheet._replace(siblings=tuple(others))


def _is_sibling(other: Sheet, sheet: Sheet) -> bool:
    if [*other.columns] == [*sheet.columns]:
        return True
    return part_of(other.file) == TEST and other.columns.keys() < sheet.columns.keys()


def _pattern(file: str) -> str:
    folder, slash, name = file.rpartition("/")
    return folder + slash + re.sub(r"\d+-of-\d+|\d+", "*", name)


def _together(parts: list[Sheet], pattern: str) -> Sheet:
    first, *others = parts
    columns = {
        name: Column(
            name,
            [cell for each in parts for cell in each.columns[name].cells],
            column.kind,
            is_numbered=column.is_numbered,
        )
        for name, column in first.columns.items()
    }
    return first._replace(file=pattern, columns=columns) if others else first


def _sheet(path: Path, file: str) -> Sheet:
    """Opens the table, and reads its first rows.

    Raises:
        UserError: it is none.
    """
    table = _open(path)
    images = [name for name, kind in table.types.items() if _holds_photos(kind)]
    left = {*nameless(table.columns), *images}
    names = [name for name in dict.fromkeys(table.columns) if name not in left]
    cells: dict[str, list[Any]] = {name: [] for name in names}
    for batch in table.read(names):
        for column, more in zip(cells.values(), batch.columns, strict=True):
            column.extend(more)
        if len(next(iter(cells.values()), ())) >= ROWS:
            break
    columns = {}
    for name in names:
        kind = table.types.get(name)
        is_numbered = kind is not None and numbered_labels(path, name) is not None
        columns[name] = Column(name, cells[name], kind, is_numbered=is_numbered)
    return Sheet(file, path, columns, images)


def _open(path: Path) -> Table:
    """The table; of text, with the delimiter that makes several columns, and as many in each row.

    Raises:
        UserError: it cannot be read.
    """
    if not path.name.lower().removesuffix(".gz").endswith((".csv", ".tsv")):
        return open_table(path, None, None, ())
    tables = [open_table(path, None, delimiter, ()) for delimiter in DELIMITERS]
    several = [table for table in tables if len(table.columns) > 1]
    return min(several or tables[:1], key=_faults)


def _faults(table: Table) -> int:
    try:
        return sum(len(batch.faults) for batch in islice(table.read(()), 2))
    except UserError:  # of quotes
        return ROWS


def _holds_photos(kind: pl.DataType) -> bool:
    inner = {field.name: field.dtype for field in getattr(kind, "fields", [])}
    return pl.Binary in (kind, inner.get("bytes"))

"""Which columns of a table hold labels, and how their cells are read."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from stages import UserError
from stages.ingest import naming
from stages.ingest.tables.cells import Kept, LabelCell, Labels, OneHot, Values
from stages.ingest.tables.files import PARQUET, Table, nameless, numbered_labels
from stages.ingest.tables.options import Options

LOOKED_AT = 100  # rows, to see whether a column can be one-hot
NEVER = "\0"  # the separator of cells that hold one name each


def label_columns(path: Path, table: Table, options: Options) -> list[str]:
    """The columns that hold labels.

    Raises:
        UserError: there is none, or one cannot hold any.
    """
    if isinstance(options.labels, str):
        _check_type(path, options.labels, table, options)
        return [options.labels]
    without = {*options.named, *nameless(table.columns)}
    taken = options.labels or [name for name in table.columns if name not in without]
    if not taken:
        raise UserError(f"{path} has no column of labels beside {', '.join(options.named)}")
    for name in taken:
        if table.columns.count(name) > 1:
            raise UserError(f"{path} has {table.columns.count(name)} columns named {name!r}")
    naming.check(taken, f"{path}, its columns of labels")
    _check_one_hot(path, table, taken, values_of(options))
    return taken


def label_reader(
    path: Path, taken: Sequence[str], options: Options, asked: Sequence[str] = ()
) -> Callable[[Sequence[Sequence[Any]], dict[int, str]], list[Labels]]:
    """What reads the label columns ``taken``, and adds the rows that it cannot read to the faults.

    Args:
        asked: the labels that are not known where a dictionary says nothing of them.
    """
    if isinstance(options.labels, str):
        cell = Kept(label_cell(path, options, asked))
        return lambda columns, faults: cell(columns[0], faults)
    one_hot = Kept(OneHot(taken, values_of(options)))
    return lambda columns, faults: one_hot(list(zip(*columns, strict=True)), faults)


def label_cell(path: Path, options: Options, asked: Sequence[str] = ()) -> LabelCell:
    """What reads a cell of the column of labels; in the long form, of one label."""
    separator = NEVER if options.long else options.separator
    numbered = _numbered(path, options)
    are_bits = options.names is not None  # Hugging Face's features are numbers for sure
    values = values_of(options)
    column = str(options.labels)
    return LabelCell(column, separator, values, numbered, asked, are_bits=are_bits)


def values_of(options: Options) -> Values:
    """What the values of one-hot columns, dictionaries and ``ingest.table.value`` say."""
    return Values(options.positive, options.negative, options.unknown, options.bounds)


def _numbered(path: Path, options: Options) -> list[str] | None:
    if options.names or path.suffix.lower() not in PARQUET:
        return options.names
    return numbered_labels(path, str(options.labels))


def _check_type(path: Path, name: str, table: Table, options: Options) -> None:
    kind = table.types.get(name, pl.String())
    inner = kind.inner if isinstance(kind, pl.List | pl.Array) else kind
    if isinstance(inner, pl.String | pl.Categorical | pl.Enum | pl.Null) or kind == pl.Struct:
        return
    remedy = ""
    if isinstance(inner, pl.DataType) and (inner.is_integer() or inner == pl.Boolean):
        if _numbered(path, options):
            return
        remedy = "; give the names of the numbers or bits in ingest.table.names"
    raise UserError(f"{path}: column {name} holds {kind}, no names or lists of names{remedy}")


def _check_one_hot(path: Path, table: Table, names: Sequence[str], values: Values) -> None:
    """Refuses columns in which none of the first rows has a value that a label can have."""
    first = next(table.read(names), None)
    columns = [column[:LOOKED_AT] for column in first.columns] if first else []
    wrong = {}
    for name, column in zip(names, columns, strict=bool(columns)):
        cells = [cell for cell in column if cell not in (None, "")]
        if cells and not any(_says(values, cell) for cell in cells):
            wrong[name] = cells[0]
    if wrong:
        such = ", ".join(f"{name} (which holds {cell!r})" for name, cell in wrong.items())
        raise UserError(
            f"{path}: no labels are in {such}; name such columns in ingest.table.exclude, choose "
            "others in labels, or say in positive, negative and unknown what their values mean"
        )


def _says(values: Values, cell: Any) -> bool:
    try:
        values(cell)
    except ValueError:
        return False
    return True

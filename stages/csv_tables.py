"""CSVs to records, also those that are not well formed: one bad record costs no other.

The files that people hand out often hold captions with double quotes that are not doubled, and
with line breaks. ``read`` and ``parse`` take a file that is well formed to the last record as such.
In any other, the records are found by how one starts, and whether quotes are doubled is judged once
for the whole file. ``csv_table`` reads no row that is not well formed.
"""

import csv
import io
import os
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from stages import UserError
from stages.image_formats import suffixes

NAME = r'(?:"[^"\r\n]+"|[^",\r\n]+)'  # quoted or not, without quotes or line breaks inside
FIELD = r'(?:"[^"\r\n]*"|[^",\r\n]*)'  # the same, or nothing
LINE = re.compile(r"[^\r\n]*(?:\r\n?|\n)|[^\r\n]+")
HEAD = rf"(?:{FIELD},){{{{{{}}}}}}"  # so many fields, each with its comma
NAME_AND_MORE = re.compile(rf"({NAME}),\S")
NAME_ALONE = re.compile(rf"({NAME})(?:,|\s|$)")
NAME_AND_TEXT = re.compile(rf"{NAME},(?! )")
COMMON = (".jpg", ".jpeg", ".png")  # to know the others, Pillow has to load all its formats

# The line that a record starts on, from 1, and its fields, or why they cannot be read.
Record = tuple[int, list[str] | str]
# For each record its row and its values, or why there are none; a table as its columns and these.
Records = Iterable[tuple[int, dict[str, Any] | str]]
Table = tuple[list[str], Records]


def read(path: Path) -> tuple[list[str], Iterator[Record]]:
    """The header and the records of a file, as ``parse`` gives them.

    Only a file that is not well formed is in memory as a whole.

    Raises:
        OSError, UnicodeDecodeError: it cannot be read, or is not UTF-8.
    """
    if _is_well_formed(_rows_of_file(path)):
        records = _rows_of_file(path)
        _, header = next(records, (1, []))
        return header, records
    return parse(path.read_bytes().decode("utf-8-sig"))


def _rows_of_file(path: Path) -> Iterator[tuple[int, list[str]]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        yield from _rows(file)


def parse(text: str) -> tuple[list[str], Iterator[Record]]:
    """Splits ``text`` into its header and its records.

    Returns:
        The header's fields, and a pair a record: the line it starts on (from 1), and its fields,
        or a sentence that says why it cannot be read.
    """
    header = next(csv.reader(line[:1000] for line in islice(_lines(text), 1)), [])
    return header, _records(text, len(header))


def _records(text: str, count: int) -> Iterator[Record]:
    # The text is read twice rather than kept twice: its records take several times as much memory.
    if _is_well_formed(_rows(_lines(text))):
        yield from islice(_rows(_lines(text)), 1, None)
        return
    doubled = _quotes_are_doubled(piece for _, piece in _pieces(text, count))
    for line, piece in _pieces(text, count):
        yield line, _fields(piece, count, doubled)


def _lines(text: str) -> Iterator[str]:
    """The lines of ``text`` with their ends, as ``csv`` wants them."""
    return (line[0] for line in LINE.finditer(text))


def _is_well_formed(rows: Iterator[tuple[int, list[str]]]) -> bool:
    """Whether all can be read, and have as many fields as the header."""
    try:
        _, header = next(rows, (1, []))
        return all(len(fields) == len(header) for _, fields in rows)
    except csv.Error:
        return False


def _rows(lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """The header and the records of well-formed CSV; blank lines are none."""
    reader = csv.reader(lines, strict=True)
    first = 1
    for fields in reader:
        if fields:
            yield first, fields
        first = reader.line_num + 1


def _pieces(text: str, count: int) -> Iterator[tuple[int, str]]:
    """Yields each record's line and text, without the line end it closes with.

    A quote at the end of a line may close the record or stand in the caption: what the next line
    looks like decides. A line that surely starts a record does so even where a quote before it is
    open, so that a record whose quote is never closed takes no other with it.
    """
    head = re.compile(HEAD.format(count - 1))
    all_but_last = re.compile(rf'(?:"[^"\r\n]+"|[^",\s]+)(?:,{FIELD}){{{max(count - 2, 0)}}},"')
    piece: list[str] = []
    begin, quoted, complete = 0, False, True
    for number, line in enumerate(islice(_lines(text), 1, None), 2):
        if not quoted and not line.strip():
            continue
        fields = head.match(line)
        surely = (fields and _names_photo(line, NAME_AND_MORE)) or all_but_last.match(line)
        if surely or (complete and (not quoted or _may_start(line))):
            if piece:
                yield begin, _joined(piece, quoted)
            piece, begin = [], number
            last = line[fields.end() :].rstrip() if fields else ""
            quoted = last.startswith('"')
        piece.append(line)
        complete = not quoted or (line.rstrip().endswith('"') and (len(piece) > 1 or last != '"'))
    if piece:
        yield begin, _joined(piece, quoted)


def _may_start(line: str) -> bool:
    """Whether ``line`` looks like the start of a record, though a caption's line may as well."""
    return _names_photo(line, NAME_ALONE) or bool(NAME_AND_TEXT.match(line))


def _names_photo(line: str, named: re.Pattern[str]) -> bool:
    """Whether ``line`` starts with the name of an image file, and goes on as in ``named``."""
    name = named.match(line)
    suffix = os.path.splitext(name[1].strip('"'))[1].lower() if name else ""
    return suffix in COMMON or suffix in suffixes()


def _joined(piece: list[str], quoted: bool) -> str:
    return "".join(piece).rstrip(None if quoted else "\r\n")


def _quotes_are_doubled(pieces: Iterable[str]) -> bool:
    """Whether the file escapes quotes inside a field by doubling them, by most of its records."""
    doubled = bare = 0
    for piece in pieces:
        inner = piece.partition(',"')[2].removesuffix('"')
        bare += '"' in inner.replace('""', "").replace('","', "")
        doubled += '""' in inner
    return doubled > bare


def _fields(piece: str, count: int, doubled: bool) -> list[str] | str:
    if doubled:
        return _strict_fields(piece, count)
    head = re.match(HEAD.format(count - 1), piece)
    if not head:
        return f"not a record of {count} fields"
    last = piece[head.end() :]
    if last.startswith('"'):
        if len(last) == 1 or not last.endswith('"'):
            return "the last field opens with a quote that nothing closes"
        last = last[1:-1]
    before = re.findall(f"({FIELD}),", head[0])
    return [*(field.strip('"') for field in before), last]


def _strict_fields(piece: str, count: int) -> list[str] | str:
    try:
        records = list(csv.reader(io.StringIO(piece, newline=""), strict=True))
    except csv.Error as error:
        return f"not well-formed CSV, as the rest of the file is: {error}"
    if len(records) != 1 or len(records[0]) != count:
        return f"not a record of {count} fields"
    return records[0]


def csv_table(path: Path, text: str, delimiter: str) -> Table:
    """Columns and records of ``text``, which is from ``path``.

    Empty cells become None; a record's number is that of the line that it starts on.

    Raises:
        UserError: the header is not CSV, or, while the records are read, a quote is never closed.
    """
    columns, rows = csv_rows(path, io.StringIO(text, newline=""), delimiter)
    return columns, ((number, _named(columns, cells)) for number, cells in rows)


def _named(columns: list[str], cells: list[str] | str) -> dict[str, Any] | str:
    if isinstance(cells, str):
        return cells
    return {name: cell or None for name, cell in zip(columns, cells, strict=True)}


def csv_rows(
    path: Path, lines: Iterable[str], delimiter: str
) -> tuple[list[str], Iterator[Record]]:
    """The header and the records of ``lines``, which are those of ``path``, with their ends.

    A blank as ``delimiter`` stands for one or more.

    Raises:
        UserError: the header is not CSV, or, while the records are read, a quote is never closed.
    """
    # csv, not a data frame: a row that is too short or too long is set aside, not filled or cut.
    reader = csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=delimiter == " ")
    try:
        columns = next(reader, [])
    except csv.Error as error:
        raise UserError(f"{path}: the header is not CSV: {error}") from error
    return columns, _csv_records(path, reader, len(columns))


def _csv_records(path: Path, reader: Any, count: int) -> Iterator[Record]:
    start = reader.line_num + 1
    while True:
        try:
            for cells in reader:
                if len(cells) == count:
                    yield start, cells
                elif cells:  # or else it is a blank line
                    yield start, _not_read(path, start, reader, _other_count(cells, count))
                start = reader.line_num + 1
            return
        except csv.Error as error:
            yield start, _not_read(path, start, reader, f"not well-formed CSV: {error}")
            start = reader.line_num + 1


def _other_count(cells: list[str], count: int) -> str:
    return f"{len(cells)} cells where the header has {count}"


def _not_read(path: Path, start: int, reader: Any, fault: str) -> str:
    if reader.line_num > start:
        # A quote that is never closed takes in the rows that follow; how many, none can say.
        raise UserError(
            f"{path}, row {start}: a cell's quote seems not to be closed where it should be, "
            f"and the row goes on to line {reader.line_num}: {fault}"
        )
    return fault

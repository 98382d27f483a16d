"""``kaggle-csv``: ``ImageID,Labels,Caption`` for train, ``ImageID,Caption`` for test, a folder.

The files of this kind that people hand out are often not well-formed CSV: captions hold double
quotes that are not doubled, and line breaks. A file that is well formed to the last record is
read as such. In any other, the records are found by how one starts, and whether quotes are
doubled is judged once for the whole file.
"""

import csv
import io
import os
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from PIL import Image

from stages import UserError
from stages.ingest.sources import Row, Unreadable, read_text
from stages.params import Section

LABELLED = ("ImageID,Labels,Caption", "ImageID,Labels")
HEADERS = {"train": LABELLED, "test": ("ImageID,Caption", "ImageID", *LABELLED)}
NAME = r'(?:"[^"\r\n]+"|[^",\r\n]+)'  # quoted or not, without quotes or line breaks inside
FIELD = r'(?:"[^"\r\n]*"|[^",\r\n]*)'  # the same, or nothing
LINE = re.compile(r"[^\r\n]*(?:\r\n?|\n)|[^\r\n]+")
HEAD = rf"(?:{FIELD},){{{{{{}}}}}}"  # so many fields, each with its comma
NAME_AND_MORE = re.compile(rf"({NAME}),\S")
NAME_ALONE = re.compile(rf"({NAME})(?:,|\s|$)")
NAME_AND_TEXT = re.compile(rf"{NAME},(?! )")
COMMON = (".jpg", ".jpeg", ".png")  # to know the others, Pillow has to load all its formats

MAY_LACK = ("train", "test")

Record = tuple[int, list[str] | str]  # the line it starts on; fields, or why there are none


class Options(Section):
    train: str | None
    test: str | None
    photos: str


def rows(root: Path, options: Options) -> Iterator[Row | Unreadable]:
    for subset, file in (("train", options.train), ("test", options.test)):
        if file is None:
            continue
        header, records = parse(read_text(root, file))
        if ",".join(header) not in HEADERS[subset]:
            raise UserError(
                f"{root / file}: the header is {','.join(header)[:80]!r}; it must be "
                f"{' or '.join(HEADERS[subset])}"
            )
        line = None
        for line, fields in records:
            if isinstance(fields, str):
                yield Unreadable(file, line, fields)
                continue
            record = dict(zip(header, fields, strict=True))
            labels = record["Labels"].split() if "Labels" in record else None
            yield Row(
                file=file,
                row=line,
                id=record["ImageID"],
                photo=f"{options.photos}/{record['ImageID']}",
                subset=subset,
                # Nothing said of a test photo does not mean that it has none.
                labels=labels or None if subset == "test" else labels,
                caption=record.get("Caption") or None,
            )
        if line is None:
            raise UserError(f"{root / file} holds a header and no record (for {subset})")


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
    if _is_well_formed(text, count):
        yield from _strict_records(text)
        return
    doubled = _quotes_are_doubled(piece for _, piece in _pieces(text, count))
    for line, piece in _pieces(text, count):
        yield line, _fields(piece, count, doubled)


def _lines(text: str) -> Iterator[str]:
    """The lines of ``text`` with their ends, as ``csv`` wants them."""
    return (line[0] for line in LINE.finditer(text))


def _is_well_formed(text: str, count: int) -> bool:
    """Whether every record is good CSV of ``count`` fields."""
    try:
        return all(len(fields) == count for _, fields in _strict_records(text))
    except csv.Error:
        return False


def _strict_records(text: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(_lines(text), strict=True)
    next(reader, None)
    first = reader.line_num + 1
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
    return suffix in COMMON or (suffix != "" and suffix in Image.registered_extensions())


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

"""``kaggle-csv``: ``ImageID,Labels,Caption`` for train, ``ImageID,Caption`` for test, a folder.

The files of this kind that people hand out are often not well-formed CSV: captions hold double
quotes that are not doubled, and line breaks. No general reader gets those right, so the records
are found by how one starts (the name of an image file at the start of a line), and whether quotes
are doubled is judged once for the whole file. Well-formed files come out the same as from
``csv.reader``.
"""

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from stages import UserError
from stages.ingest.sources import Row, Unreadable, read_text
from stages.params import Section

LABELLED = ("ImageID,Labels,Caption", "ImageID,Labels")
HEADERS = {"train": LABELLED, "test": ("ImageID,Caption", "ImageID", *LABELLED)}


class Options(Section):
    train: str
    test: str | None
    photos: str


def rows(root: Path, options: Options) -> Iterator[Row | Unreadable]:
    for subset, file in (("train", options.train), ("test", options.test)):
        if file is None:
            continue
        header, records = parse(read_text(root, file))
        if ",".join(header) not in HEADERS[subset]:
            raise UserError(
                f"{root / file}: the header is {','.join(header)}; it must be "
                f"{' or '.join(HEADERS[subset])}"
            )
        for line, fields in records:
            if isinstance(fields, str):
                yield Unreadable(file, line, fields)
                continue
            record = dict(zip(header, fields, strict=True))
            yield Row(
                file=file,
                row=line,
                id=record["ImageID"],
                photo=f"{options.photos}/{record['ImageID']}",
                subset=subset,
                labels=record["Labels"].split() if "Labels" in record else None,
                caption=record.get("Caption"),
            )


def parse(text: str) -> tuple[list[str], list[tuple[int, list[str] | str]]]:
    """Splits ``text`` into its header and its records.

    Returns:
        The header's fields, and a pair a record: the line it starts on (from 1), and its fields,
        or a sentence that says why it cannot be read.
    """
    first_line, _, body = text.partition("\n")
    header = first_line.rstrip("\r").split(",")
    pieces = list(_pieces(body))
    doubled = _quotes_are_doubled([piece for _, piece in pieces])
    return header, [(line, _fields(piece, len(header), doubled)) for line, piece in pieces]


def _pieces(body: str) -> Iterator[tuple[int, str]]:
    """Yields each record's line and text, without the line end it closes with."""
    Image.init()  # fills in the suffixes below
    suffixes = "|".join(re.escape(suffix) for suffix in Image.registered_extensions())
    start = re.compile(rf'^"?[^",\r\n]+(?:{suffixes})"?(?=[,\r\n]|\Z)', re.IGNORECASE | re.MULTILINE)
    starts = [match.start() for match in start.finditer(body)]
    if not starts or body[: starts[0]].strip():
        # Ids without a suffix do not tell where a record starts; well-formed CSV does.
        yield from _well_formed_pieces(body)
        return
    line = 2
    for begin, end in zip(starts, [*starts[1:], len(body)], strict=True):
        piece = body[begin:end]
        yield line + body.count("\n", starts[0], begin), piece.rstrip("\r\n")


def _well_formed_pieces(body: str) -> Iterator[tuple[int, str]]:
    line, piece = 2, ""
    for number, text in enumerate(body.splitlines(keepends=True), 2):
        piece += text
        if piece.count('"') % 2 == 0:
            if piece.strip():
                yield line, piece.rstrip("\r\n")
            line, piece = number + 1, ""
    if piece.strip():
        yield line, piece.rstrip("\r\n")


def _quotes_are_doubled(pieces: list[str]) -> bool:
    """Whether the file escapes quotes inside a field by doubling them, by most of its records."""
    doubled = bare = 0
    for piece in pieces:
        inner = piece.partition(',"')[2].removesuffix('"')
        bare += '"' in inner.replace('""', "").replace('","', "")
        doubled += '""' in inner
    return doubled > bare


def _fields(piece: str, count: int, doubled: bool) -> list[str] | str:
    if not doubled:
        fields = piece.split(",", count - 1)
        if len(fields) == count:
            last = fields[-1]
            if last.startswith('"') and not (len(last) > 1 and last.endswith('"')):
                return "the caption opens with a quote that nothing closes"
            plain = [field.strip('"') for field in fields[:-1]]
            return [*plain, last[1:-1] if last.startswith('"') else last]
    try:
        (fields,) = csv.reader(io.StringIO(piece, newline=""), strict=True)
    except (csv.Error, ValueError) as error:
        return f"not a record of {count} fields: {error}"
    if len(fields) != count:
        return f"{len(fields)} fields where the header has {count}"
    return fields

"""In which encoding a text file is, and what stands between its columns."""

import codecs
import csv
import gzip
import io
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stages import UserError

BLOCK = 1 << 20  # bytes
BLANKS = " "  # as a delimiter, one or more of them
DELIMITERS = (",", ";", "\t", "|", BLANKS)
MARKS = (  # UTF-32's begins with that of UTF-16
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def lines(path: Path, encoding: str) -> Iterator[str]:
    """The lines of ``path`` with their ends as they are; a ``.gz`` is unpacked.

    Raises:
        UserError: it is in another encoding, or cannot be unpacked.
    """
    try:
        with _bytes(path) as file, io.TextIOWrapper(file, encoding, newline="") as text:
            yield from text
    except (UnicodeError, LookupError) as error:  # in, or of no such encoding
        raise UserError(
            f"{path} is not {encoding} text ({error}); set ingest.table.encoding to null to find it"
        ) from error


@contextmanager
def _bytes(path: Path) -> Iterator[Any]:
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
            yield file
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be unpacked: {error}") from error


def find_encoding(path: Path) -> str:
    """The encoding of ``path``, read to its end: UTF-8, UTF-16, UTF-32 or, failing all, cp1252.

    Raises:
        UserError: it is none of these, or cannot be unpacked.
    """
    with _bytes(path) as file:
        head = file.read(BLOCK)
    for mark, encoding in MARKS:
        if head.startswith(mark):
            return encoding
    if (zeros := head.count(0)) > len(head) / 4:  # every other byte of most scripts' digits, commas
        return "utf-16-le" if head[1::2].count(0) * 2 > zeros else "utf-16-be"
    for encoding in ("utf-8", "cp1252"):
        if _can_be_read(path, encoding):
            return encoding
    raise UserError(f"{path} is neither UTF-8, UTF-16 nor cp1252 text; set ingest.table.encoding")


def _can_be_read(path: Path, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        with _bytes(path) as file:
            while block := file.read(BLOCK):
                decoder.decode(block)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def find_delimiter(header: str, named: Iterable[str]) -> str:
    """The delimiter that makes the columns ``named`` of ``header``; a comma where none does."""
    wanted = {*named}
    for delimiter in DELIMITERS:
        try:
            columns = next(csv.reader([header], delimiter=delimiter, skipinitialspace=True), [])
        except csv.Error:
            continue
        if wanted <= {name.strip() for name in columns}:
            return delimiter
    return ","

"""``ImageID,Labels,Caption``, and a file of test photos beside it."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from experiments.look.candidate import LISTS, Candidate
from experiments.look.columns import Column
from experiments.look.index import Index, folder_of
from experiments.look.names import match
from experiments.look.parts import TEST, part_of
from experiments.look.sheets import ROWS
from stages import UserError
from stages.csv_tables import parse
from stages.ingest.sources import read_text
from stages.ingest.sources.kaggle_csv import HEADERS, LABELLED


def candidates(index: Index, _: list[str]) -> Iterator[Candidate]:
    """Each table with this header, and that of test photos in the same folder."""
    tables = {path: table for path in index.with_suffix(".csv") if (table := _read(index, path))}
    for path, (header, rows) in tables.items():
        if header not in LABELLED or part_of(path) == TEST:
            continue
        there = match((row[0] for row in rows), index)
        labels = Column("Labels", [row[1] for row in rows])
        if not there or there.pattern != "{id}" or labels.has_separator:
            continue
        beside = (
            other
            for other in tables
            if folder_of(other) == folder_of(path) and part_of(other) == TEST
        )
        test = next(beside, None)
        options: dict[str, Any] = {"train": path, "test": test, "photos": there.folders[0]}
        why = {
            "train": f"its header is {header}, and blanks stand between labels",
            "test": "by its name and header" if test else "no other table has such a header",
            "photos": f"{there.found:,} of its {there.names:,} names lead to photos there",
        }
        yield Candidate(f"a table of Kaggle's kind, {path}", LISTS, "kaggle-csv", options, why)


def _read(index: Index, path: str) -> tuple[str, list[list[str]]] | None:
    """The header of a table and its first rows; None where it is none of these."""
    known = {header for headers in HEADERS.values() for header in headers}
    with (index.root / path).open(encoding="utf-8-sig", errors="replace") as file:
        if file.readline().strip() not in known:
            return None
    try:
        header, records = parse(read_text(index.root, path))
    except UserError:
        return None
    rows = [fields for _, fields in islice(records, ROWS) if not isinstance(fields, str)]
    return ",".join(header), rows

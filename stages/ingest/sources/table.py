"""``table``: files with a row a photo, or a row for each photo and label.

Labels are a column of names, lists or dictionaries, or they are one-hot columns. Labels that are
null are not known. CSV and Excel cannot tell null from an empty list; there, an empty cell of
labels means no label for a train photo, and not known for a test photo. What the values of one-hot
columns and dictionaries mean, ``positive``, ``negative`` and ``unknown`` say.
"""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from stages import printable
from stages.ingest.sources import Columns, Row, Unreadable
from stages.ingest.tables import duplicates, long_form, wide
from stages.ingest.tables.opened import open_all
from stages.ingest.tables.options import Options

__all__ = ["MAY_LACK", "Options", "columns", "rows"]

MAY_LACK = ("validation", "test")


def columns(root: Path, options: Options) -> Columns:
    """Which columns of the first file are labels, and which have no part in anything.

    Raises:
        UserError: as ``rows``, of files and columns.
    """
    first, *_ = open_all(root, options)
    used = {*options.named, *first.taken} - {*(options.exclude or [])}
    return Columns(first.taken, [name for name in first.table.columns if name not in used])


def rows(root: Path, options: Options) -> Iterator[Row | Unreadable]:
    opened = open_all(root, options)
    for each in opened:
        if each.table.is_guessed:
            path = printable(str(each.path))
            print(f"ingest: {path} is not UTF-8; read as cp1252 (ingest.table.encoding)")
    if options.long:
        return long_form.rows(root, options, opened)
    make = wide.maker(root, options, opened)
    if options.duplicates == "refuse":
        remedy = "mend the file, or set ingest.table.duplicates to merge or first"
        return chain.from_iterable(duplicates.refused(make, remedy))
    # "first": of every source, a second row with an id is set aside.
    return chain.from_iterable(duplicates.merged(make) if options.duplicates == "merge" else make())

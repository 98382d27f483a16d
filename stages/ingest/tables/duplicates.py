"""Rows of a table that are of one photo."""

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain

import numpy as np

from stages import UserError
from stages.ingest.sources import Row, Unreadable

Batches = Iterator[list[Row | Unreadable]]


def refused(make: Callable[[], Batches], remedy: str) -> Batches:
    """The rows that ``make`` makes.

    Raises:
        UserError: at the end, several of them are of one photo; says how many photos there are
            of this kind, and ``remedy``.
    """
    keys = array("q")  # 8 bytes a row: the ids themselves would take ten times as much
    for rows in make():
        keys.fromlist(_keys(rows))
        yield rows
    if twice := _twice(keys):
        first: dict[int, Row] = {}
        for row in chain.from_iterable(make()):
            if isinstance(row, Row) and (key := _key(row)) in twice:
                before = first.setdefault(key, row)
                if before is not row:
                    raise UserError(
                        f"{row.file} has several rows for one photo, {len(twice):,} times; such as "
                        f"{row.id}, row {row.row}, which {before.file} has in row {before.row}; "
                        f"{remedy}"
                    )


def merged(make: Callable[[], Batches]) -> Batches:
    """The rows that ``make`` makes, twice; those of one photo as one, where the last of them was.

    Yields an ``Unreadable`` for those of a photo that contradict each other (``merge``).
    """
    keys = array("q")
    for rows in make():
        keys.fromlist(_keys(rows))
    twice = _twice(keys)
    left = Counter(key for key in keys if key in twice)
    waiting: dict[int, list[Row]] = {}
    for rows in make():
        alone = []
        for row in rows:
            if isinstance(row, Unreadable) or (key := _key(row)) not in twice:
                alone.append(row)
                continue
            waiting.setdefault(key, []).append(row)
            left[key] -= 1
            if not left[key]:
                alone.append(merge(waiting.pop(key)))
        yield alone
    if twice:
        print(f"ingest: {len(twice):,} photos had several rows each, which were merged")


def _keys(rows: Iterable[Row | Unreadable]) -> list[int]:
    return [_key(row) for row in rows if isinstance(row, Row)]


def _key(row: Row) -> int:
    photo = row.photo
    return hash(photo if photo.__class__ is str else row.id)


def _twice(keys: "array[int]") -> set[int]:
    values, counts = np.unique(np.frombuffer(keys, np.int64), return_counts=True)
    return {int(value) for value in values[counts > 1]}


def merge(rows: Sequence[Row]) -> Row | Unreadable:
    """One row of several: a label that one of them names, is there; if none knows of it, it is not
    known. Different captions become one, a line each.

    Returns an ``Unreadable`` where subset, group, time or part differ.
    """
    first = rows[0]
    for field in ("subset", "group", "time", "part"):
        values = {str(getattr(row, field)) for row in rows}
        if len(values) > 1:
            where = ", ".join(str(row.row) for row in rows)
            reason = f"rows {where} of {first.id} differ in {field}: {', '.join(sorted(values))}"
            return Unreadable(first.file, first.row, reason)
    known = [row for row in rows if row.labels is not None]
    names = list(dict.fromkeys(name for row in known for name in row.labels or ()))
    unknown = [
        name
        for name in (known or rows)[0].unknown
        if name not in names and all(name in row.unknown for row in known)
    ]
    captions = dict.fromkeys(row.caption for row in rows if row.caption)
    return first._replace(
        labels=names if known else None,
        unknown=tuple(unknown),
        caption="\n".join(captions) or None,
    )

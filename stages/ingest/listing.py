"""The rows that a source lists; those that cannot be records are set aside."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from stages.ingest import sources
from stages.ingest.params import Ingest
from stages.ingest.rejected import Rejected
from stages.ingest.sources import Row, Unreadable
from stages.ingest.spool import Spool

LabelLists = list[tuple[str, ...] | None]  # None: labels are not known

LISTED = pl.Schema(
    {
        "number": pl.UInt32(),  # among all rows that are listed
        "file": pl.String(),
        "row": pl.Int64(),
        "id": pl.String(),
        "photo": pl.String(),  # null: a function makes it
        "subset": pl.String(),
        "label_list": pl.UInt32(),  # which of them
        "caption": pl.String(),
        "delivery": pl.Int32(),
    }
)


class Listing(NamedTuple):
    """The rows of a source.

    Attributes:
        rows: those that can be records, whatever their photos are; columns of ``LISTED``.
        makers: the functions that make photos, by the numbers of their rows.
        label_lists: each label list that a row has, once: few are as many as the rows.
        rejected: the other rows.
        total: how many rows there are.
    """

    rows: Spool
    makers: dict[int, Callable[[], bytes]]
    label_lists: LabelLists
    rejected: list[Rejected]
    total: int


def list_rows(params: Ingest, folder: Path) -> Listing:
    """Lists the rows of the source; those that can be records are written to ``folder``.

    Raises:
        UserError: as ``sources.rows`` does.
    """
    good = Spool(LISTED, folder / "listed")
    makers: dict[int, Callable[[], bytes]] = {}
    label_lists: dict[tuple[str, ...] | None, int] = {}
    rejected: list[Rejected] = []
    count = 0
    for row in sources.rows(params):
        if isinstance(row, Unreadable):
            rejected.append((row.file, row.row, "", row.reason))
        elif reason := _fault(row, params.labels):
            rejected.append((row.file, row.row, _path(row) or row.id, reason))
        else:
            labels = None if row.labels is None else tuple(row.labels)
            which = label_lists.setdefault(labels, len(label_lists))
            origin = (count, row.file, row.row, row.id, _path(row))
            good.append((*origin, row.subset, which, row.caption, row.delivery))
            if callable(row.photo):
                makers[count] = row.photo
        count += 1
    rows, again = _by_first_id(good, folder)
    return Listing(rows, makers, list(label_lists), rejected + again, count)


def _path(row: Row) -> str | None:
    return None if callable(row.photo) else row.photo


def _fault(row: Row, labels: list[str] | None) -> str | None:
    """Why ``row`` cannot be a record."""
    if not row.id.strip():
        return "the id is empty"
    if labels and (strange := set(row.labels or ()).difference(labels)):
        return f"not in ingest.labels: {', '.join(sorted(strange))}"
    try:
        texts = (row.file, row.id, _path(row) or "", row.caption or "", *(row.labels or ()))
        "".join(texts).encode()
    except UnicodeEncodeError as error:
        return f"its id, path, caption or labels are not text: {error.reason}"
    return None


def _by_first_id(rows: Spool, folder: Path) -> tuple[Spool, list[Rejected]]:
    """The first row of each id, and the others, set aside."""
    ids = rows.scan().select("id").collect()["id"]
    if (is_first := ids.is_first_distinct()).all():
        return rows, []
    twice = pl.col("id").is_in(ids.filter(~is_first).unique().implode())
    alike = rows.scan().filter(twice).sort("number").collect()
    is_first = alike["id"].is_first_distinct()
    again = alike.filter(~is_first).join(alike.filter(is_first), "id", "left", suffix="_first")
    first = Spool(LISTED, folder / "first")
    for part in rows.parts():
        first.extend(part.filter(~pl.col("number").is_in(again["number"].implode())))
    return first, [
        (row["file"], row["row"], row["photo"] or row["id"], _used_before(row))
        for row in again.iter_rows(named=True)
    ]


def _used_before(row: dict[str, Any]) -> str:
    return f"the id {row['id']} was used before: {row['file_first']}, row {row['row_first']}"

"""The rows that a source lists; those that cannot be records are set aside."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from stages.ingest import sources
from stages.ingest.label_rules import LabelRules
from stages.ingest.params import Ingest
from stages.ingest.rejected import Rejected
from stages.ingest.sources import Row, Unreadable
from stages.ingest.spool import Spool


class LabelList(NamedTuple):
    """The labels of a photo.

    Attributes:
        names: those it has; None where they are not known.
        unknown: those of which it is not known whether it has them.
    """

    names: tuple[str, ...] | None
    unknown: tuple[str, ...] = ()


LabelLists = list[LabelList]

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
        "group": pl.String(),
        "time": pl.Datetime("us", "UTC"),
        "part": pl.String(),
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


def list_rows(params: Ingest, rules: LabelRules, folder: Path) -> Listing:
    """Lists the rows of the source; those that can be records are written to ``folder``.

    Their labels are those after the ``rules``.

    Raises:
        UserError: as ``sources.rows`` does.
    """
    good = Spool(LISTED, folder / "listed")
    makers: dict[int, Callable[[], bytes]] = {}
    label_lists: dict[LabelList, int] = {}
    rejected: list[Rejected] = []
    count = 0
    for row in rules.of_rows(sources.rows(params)):
        if isinstance(row, Unreadable):
            rejected.append((row.file, row.row, "", row.reason))
        elif reason := _fault(row, params.labels):
            rejected.append((row.file, row.row, _path(row) or row.id, reason))
        else:
            names = None if row.labels is None else tuple(row.labels)
            labels = LabelList(names, tuple(row.unknown))
            which = label_lists.setdefault(labels, len(label_lists))
            origin = (count, row.file, row.row, row.id, _path(row))
            of_split = (row.group, _in_utc(row.time), row.part)
            good.append((*origin, row.subset, which, row.caption, row.delivery, *of_split))
            if callable(row.photo):
                makers[count] = row.photo
        count += 1
    rows, again = _by_first_id(good, folder)
    return Listing(rows, makers, list(label_lists), rejected + again, count)


def _path(row: Row) -> str | None:
    return None if callable(row.photo) else row.photo


def _in_utc(time: datetime | None) -> datetime | None:
    """``time`` in UTC, of which it is where it has no zone."""
    if time is None or time.tzinfo is not None:
        return time
    return time.replace(tzinfo=UTC)


def _fault(row: Row, labels: list[str] | None) -> str | None:
    """Why ``row`` cannot be a record."""
    if not row.id.strip():
        return "the id is empty"
    if labels and (strange := {*(row.labels or ()), *row.unknown}.difference(labels)):
        return f"not in ingest.labels: {', '.join(sorted(strange))}"
    try:
        labels_and_group = (*(row.labels or ()), *row.unknown, row.group or "")
        texts = (row.file, row.id, _path(row) or "", row.caption or "", *labels_and_group)
        "".join(texts).encode()
    except UnicodeEncodeError as error:
        return f"its id, path, caption, labels or group are not text: {error.reason}"
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

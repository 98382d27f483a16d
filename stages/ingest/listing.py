"""The rows that a source lists; those that cannot be records are set aside."""

import html
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from stages.ingest import naming, sources
from stages.ingest.label_rules import LabelRules
from stages.ingest.params import Ingest
from stages.ingest.rejected import Rejected
from stages.ingest.sources import Row, Unreadable
from stages.ingest.spool import Spool

# As captions from web pages have them; without a semicolon, "?a=1&copy=2" would hold one.
ENTITY = re.compile(r"&(?:#\d+|#[xX][\da-fA-F]+|\w+);")


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
        label_lists: each label list that a row has, once as its source says it: few are as many
            as the rows.
        rejected: the other rows that stand for a photo.
        no_photos: what was set aside besides, and costs no photo.
        total: how many rows stand for a photo.
    """

    rows: Spool
    makers: dict[int, Callable[[], bytes]]
    label_lists: LabelLists
    rejected: list[Rejected]
    no_photos: list[Rejected]
    total: int


def list_rows(params: Ingest, rules: LabelRules, folder: Path) -> Listing:
    """Lists the rows of the source; those that can be records are written to ``folder``.

    Their labels are those after the ``rules``.

    Raises:
        UserError: as ``sources.rows`` does.
    """
    good = Spool(LISTED, folder / "listed")
    makers: dict[int, Callable[[], bytes]] = {}
    label_lists = _LabelLists(params.labels, rules)
    rejected: list[Rejected] = []
    no_photos: list[Rejected] = []
    count = 0
    for row in sources.rows(params):
        if isinstance(row, Unreadable):
            aside = rejected if row.costs_photo else no_photos
            aside.append((row.file, row.row, row.photo, row.reason))
            count += row.costs_photo
            continue
        if isinstance(which := _fault(row) or label_lists.place(row), str):
            rejected.append((row.file, row.row, _path(row) or row.id, which))
        else:
            origin = (count, row.file, row.row, row.id, _path(row))
            of_split = (row.group, _in_utc(row.time), row.part)
            caption = row.caption and unescaped(row.caption)
            good.append((*origin, row.subset, which, caption, row.delivery, *of_split))
            if callable(row.photo):
                makers[count] = row.photo
        count += 1
    rows, again = _once(good, folder)
    return Listing(rows, makers, label_lists.lists, rejected + again, no_photos, count)


class _LabelLists:
    """The label lists of rows, their names clean, and after the ``rules``.

    Args:
        allowed: the names that there may be; None: all.

    Attributes:
        lists: each once as its source says it.
    """

    def __init__(self, allowed: list[str] | None, rules: LabelRules) -> None:
        self._allowed, self._rules = allowed, rules
        self._places: dict[LabelList, int | str] = {}
        self._seen: set[str] = set()  # names that are clean, and may be
        self.lists: LabelLists = []

    def place(self, row: Row) -> int | str:
        """Where in ``lists`` the labels of ``row`` are, or why they cannot be a photo's."""
        said = LabelList(None if row.labels is None else tuple(row.labels), tuple(row.unknown))
        place = self._places.get(said)
        if place is None:
            labels = said if self._is_clean(said) else self._cleaned(said)
            if isinstance(labels, str):
                place = labels
            else:
                place = len(self.lists)
                self.lists.append(labels)
            self._places[said] = place
        return place

    def _is_clean(self, said: LabelList) -> bool:
        """Whether all names are clean: most often, they have been seen before."""
        names = said.names or ()
        known = self._seen.issuperset(names) and self._seen.issuperset(said.unknown)
        return known and not self._rules and not set(said.unknown).intersection(names)

    def _cleaned(self, said: LabelList) -> LabelList | str:
        """The labels that are meant, or why they cannot be."""
        names = None if said.names is None else _each_once(said.names)
        unknown = (name for name in _each_once(said.unknown) if name not in (names or ()))
        labels = LabelList(*self._rules(names, tuple(unknown)))
        every = {*(labels.names or ()), *labels.unknown}
        if faults := sorted(filter(None, map(naming.fault, every))):
            return faults[0]
        if self._allowed and (strange := every.difference(self._allowed)):
            return f"not in ingest.labels: {', '.join(sorted(strange))}"
        self._seen |= every
        return labels


def _each_once(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(map(naming.clean, names)))


def _path(row: Row) -> str | None:
    return None if callable(row.photo) else row.photo


def _in_utc(time: datetime | None) -> datetime | None:
    """``time`` in UTC, of which it is where it has no zone."""
    if time is None or time.tzinfo is not None:
        return time
    return time.replace(tzinfo=UTC)


def unescaped(text: str) -> str:
    """``text`` with the characters that HTML's entities stand for.

    >>> unescaped("fish &amp; chips, 20 &#8364;, Q&A")
    'fish & chips, 20 €, Q&A'
    """
    return ENTITY.sub(lambda found: html.unescape(found[0]), text)


def _fault(row: Row) -> str | None:
    """Why ``row`` cannot be a record, whatever its labels are."""
    if not row.id.strip():
        return "the id is empty"
    try:
        texts = (row.file, row.id, _path(row) or "", row.caption or "", row.group or "")
        "".join(texts).encode()
    except UnicodeEncodeError as error:
        return f"its id, path, caption or group are not text: {error.reason}"
    return None


def _once(rows: Spool, folder: Path) -> tuple[Spool, list[Rejected]]:
    """The first row of each id and of each photo, and the others, set aside."""
    # As hashes, which take little memory; they may be the same by chance.
    keys = rows.scan().select(pl.col("id").hash(), _PHOTO.hash().alias("photo")).collect()
    if all(keys[name].n_unique() == len(keys) for name in keys.columns):
        return rows, []
    is_suspect = keys.select(pl.any_horizontal(pl.all().is_duplicated())).to_series()
    numbers = rows.scan().select("number").collect().to_series().filter(is_suspect)
    suspected = pl.col("number").is_in(numbers.implode())
    alike = rows.scan().filter(suspected).with_columns(plain=_PHOTO).sort("number").collect()
    again = [_again(alike, "id"), _again(alike, "plain")]
    numbers = pl.concat(each["number"] for each in again).implode()
    first = Spool(LISTED, folder / "first")
    for part in rows.parts():
        first.extend(part.filter(~pl.col("number").is_in(numbers)))
    reasons = {row["number"]: (row, _photo_used_before(row)) for row in again[1].to_dicts()}
    reasons |= {row["number"]: (row, _id_used_before(row)) for row in again[0].to_dicts()}
    return first, [
        (row["file"], row["row"], row["photo"] or row["id"], reason)
        for row, reason in reasons.values()
    ]


# As ``sources.plain_path``; where a function makes the photo, its id.
_PHOTO = pl.coalesce(pl.col("photo").str.replace_all(r"(^|/)(?:\.?/)+", "$1"), "id")


def _again(rows: pl.DataFrame, key: str) -> pl.DataFrame:
    """The rows whose ``key`` a row before has, with the columns of the first such row."""
    is_first = rows[key].is_first_distinct()
    return rows.filter(~is_first).join(rows.filter(is_first), key, "left", suffix="_first")


def _id_used_before(row: dict[str, Any]) -> str:
    return f"the id {row['id']} was used before: {row['file_first']}, row {row['row_first']}"


def _photo_used_before(row: dict[str, Any]) -> str:
    where = f"{row['file_first']}, row {row['row_first']}"
    return f"its photo was listed before, as {row['id_first']}: {where}"

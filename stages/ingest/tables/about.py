"""What else a table says of a photo: its id, subset, caption, group and time."""

import math
from collections.abc import Iterable, Sequence
from datetime import date, datetime, time
from itertools import repeat
from typing import Any, NamedTuple

from stages.ingest.addresses import is_address
from stages.ingest.sources import plain_path
from stages.ingest.tables.cells import MISSING, Kept
from stages.ingest.tables.files import Table
from stages.ingest.tables.options import Options

SUBSETS = {  # with the part of the photos for training
    **dict.fromkeys(("train", "training"), ("train", "train")),
    **dict.fromkeys(("val", "valid", "validation", "dev"), ("train", "validation")),
    **dict.fromkeys(("test", "testing"), ("test", None)),
}


class About(NamedTuple):
    """What rows say of their photos beside ids and labels, a value a row; as in ``Row``."""

    subset: Iterable[str]
    part: Iterable[str | None]
    caption: Iterable[str | None]
    group: Iterable[str | None]
    time: Iterable[datetime | None]


class AboutReader:
    """Reads the ``columns`` that the options name.

    Args:
        part: of all rows, where no column says it: ``train``, ``validation`` or ``test``.
        is_parted: whether the source parts its photos for training and validation.
    """

    def __init__(self, options: Options, table: Table, part: str, *, is_parted: bool) -> None:
        fields = ("subset", "caption", "group", "time")
        asked = {field: getattr(options, field) for field in fields}
        named = {field: name for field, name in asked.items() if name in table.columns}
        self.columns = list(dict.fromkeys(named.values()))
        self._places = {field: self.columns.index(name) for field, name in named.items()}
        self._is_parted, self._tells_empty = is_parted, table.tells_empty
        self._all = self._known_subset(part)
        self._subset_of = Kept(self._known_subset)
        self._time_of = Kept(lambda cell: (time_of(cell),))

    def __call__(self, columns: Sequence[Sequence[Any]], faults: dict[int, str]) -> About:
        """What ``columns`` say; adds the rows whose subset or time is none to ``faults``."""
        cells = {field: columns[place] for field, place in self._places.items()}
        subset, part = self._all
        about = About(repeat(subset), repeat(part), *(repeat(None),) * 3)
        if "subset" in cells:
            known = self._subset_of(cells["subset"], faults)
            subsets, parts = zip(*map(_or_nothing, known), strict=True) if known else ((), ())
            about = about._replace(subset=subsets, part=parts)
        if "caption" in cells:
            about = about._replace(caption=[self._caption(cell) for cell in cells["caption"]])
        if "group" in cells:
            about = about._replace(group=[text_of(cell) for cell in cells["group"]])
        if "time" in cells:
            times = self._time_of(cells["time"], faults)
            about = about._replace(time=[_or_nothing(each)[0] for each in times])
        return about

    def _caption(self, cell: Any) -> str | None:
        if cell is None or (cell == "" and not self._tells_empty):
            return None
        return str(cell)

    def _known_subset(self, cell: Any) -> tuple[str, str | None]:
        if (known := subset_of(cell)) is None:
            raise ValueError(f"the subset is {cell!r}; it must be one of {', '.join(SUBSETS)}")
        return known if self._is_parted else (known[0], None)


def _or_nothing(result: Any) -> Any:
    """What a cell says; of one that is set aside, nothing."""
    return (None, None) if isinstance(result, ValueError) else result


def subset_of(cell: Any) -> tuple[str, str | None] | None:
    """The subset that ``cell`` names, and the part of it; None for other words."""
    return SUBSETS.get(str(cell).strip().lower())


def text_of(cell: Any) -> str | None:
    """A name or a number as text, without ``.0``; None where the cell is empty or missing."""
    if isinstance(cell, float):
        if math.isnan(cell):
            return None
        cell = int(cell) if cell.is_integer() else cell
    text = "" if cell is None else str(cell)
    return text if text and text not in MISSING else None


def ids_of(cells: Sequence[Any], faults: dict[int, str]) -> list[str]:
    """The ids in ``cells``, ``./a//1.jpg`` as ``a/1.jpg``; adds the rows without to ``faults``."""
    ids = cells if {*map(type, cells)} <= {str} else [text_of(cell) or "" for cell in cells]
    if "" in ids or not MISSING.isdisjoint(ids):
        faults |= {place: "the id is empty" for place, id in enumerate(ids) if not text_of(id)}
    together = "\n".join(ids)
    if "./" in together or "//" in together:
        return list(map(_tidy, ids))
    return list(ids)


def _tidy(id: str) -> str:
    # Meant as they are: addresses, and what will not be found, or not be allowed.
    is_meant = is_address(id) or ".." in id or id[:1] == "/"
    return id if is_meant or ("./" not in id and "//" not in id) else plain_path(id)


def time_of(cell: Any) -> datetime | None:
    """The time that ``cell`` holds, as such or in ISO 8601; None where it is empty or missing.

    Raises:
        ValueError: it is something else.
    """
    if isinstance(cell, datetime):
        return cell
    if isinstance(cell, date):
        return datetime.combine(cell, time())
    if (text := text_of(cell)) is None:
        return None
    try:
        return datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise ValueError(
            "the time is not in ISO 8601, like 2024-05-31 or 2024-05-31T18:30:00+02:00"
        ) from error

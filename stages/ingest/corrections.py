"""``ingest.corrections``: labels that people have checked, laid over those of the source.

A folder of CSV files with the columns ``id`` and ``labels``; labels are joined with ``|``, and an
empty cell says that the photo has none. A column ``unknown`` may name labels of which nobody knows
whether the photo has them; all others it has not. Further columns do not count, so that a file can
be rows of ``report/label_quality.csv`` as they are. The source's own files stay as they came.

Exports of Label Studio (.json) and of CVAT (.xml) are read as they are, too; photos of which they
know nothing are no corrections.

``data/checked.csv`` names the photos whose corrections count, also those that say what the source
says: nobody needs to look at them again.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import polars as pl

from stages import UserError
from stages.csv_tables import csv_table
from stages.ingest import naming
from stages.ingest.label_rules import LabelRules
from stages.ingest.listing import LabelList, LabelLists
from stages.ingest.rejected import Rejected
from stages.ingest.sources import Row, Unreadable, cvat, label_studio
from stages.ingest.spool import Spool

CHECKED = Path("data/checked.csv")
SHOWN = 5  # corrections, in a warning


class Correction(NamedTuple):
    """The labels that a row of a file gives to a photo, in the order of their names."""

    file: str
    row: int
    labels: LabelList


class Corrections(NamedTuple):
    """What files of corrections say.

    Attributes:
        by_id: the correction of each photo that they name.
        rejected: the rows that say too little, or contradict each other.
    """

    by_id: dict[str, Correction]
    rejected: list[Rejected]


class Corrected(NamedTuple):
    """The rows of photos, each with the labels that count.

    Attributes:
        rows: as they were, but for ``label_list``.
        label_lists: those that there were, and those of the corrections.
        checked: the photos whose corrections count.
        changed: how many of those say something else than the source.
        emptied: the ids of those that leave a photo without a label that the source gave one.
        rejected: the corrections that do not count.
    """

    rows: Spool
    label_lists: LabelLists
    checked: list[str]
    changed: int
    emptied: list[str]
    rejected: list[Rejected]

    def figures(self) -> dict[str, int]:
        """How many corrections count, differ from the source, and were set aside."""
        return {
            "applied": len(self.checked),
            "changed": self.changed,
            "set_aside": len(self.rejected),
        }


def read(folder: Path, rules: LabelRules | None = None) -> Corrections:
    """Reads every file of corrections in ``folder``. Labels are those after the ``rules``, if any.

    Raises:
        UserError: there is no such folder, or a file is a link, not what its name says, or a CSV
            without just one column of each name.
    """
    if not folder.is_dir():
        raise UserError(
            f"ingest.corrections: {folder} is no folder; make one, and put files of corrections "
            "into it"
        )
    given: dict[str, list[Correction]] = {}
    rejected: list[Rejected] = []
    for path in sorted(folder.iterdir()):
        for row in _rows(path):
            if isinstance(row, Unreadable):
                rejected.append((str(path), row.row, "", row.reason))
            elif row.labels is not None:
                labels = _label_list(row.labels, row.unknown, rules)
                given.setdefault(row.id, []).append(Correction(str(path), row.row, labels))
    by_id = {}
    for id, corrections in given.items():
        if len({each.labels for each in corrections}) == 1:
            by_id[id] = corrections[0]
            continue
        rows = ", ".join(f"{file} row {row}" for file, row, _ in corrections)
        reason = f"corrected to different labels: {rows}; keep one of them"
        rejected += [(file, row, id, reason) for file, row, _ in corrections]
    return Corrections(by_id, rejected)


def _rows(path: Path) -> Iterator[Row | Unreadable]:
    """What a file says, as a source's would; nothing where it is none of corrections."""
    reader = READERS.get(path.suffix.lower())
    if reader and path.is_symlink():  # to what else is on the machine that retrains
        raise UserError(
            f"{path} is a link, and corrections are read from files only; put the file itself there"
        )
    return reader(path) if reader else iter(())


def _of_csv(file: Path) -> Iterator[Row | Unreadable]:
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not UTF-8 text: byte {error.start} is wrong") from error
    columns, records = csv_table(file, text, ",")
    for name in ("id", "labels"):
        if columns.count(name) != 1:
            raise UserError(
                f"{file} needs one column {name}, but its header is {','.join(columns)!r}; give it "
                "id,labels and perhaps more, with a comma between the columns"
            )
    for row, cells in records:
        if isinstance(cells, str):
            yield Unreadable(file.name, row, cells)
        elif not (id := cells["id"] or "").strip():
            yield Unreadable(file.name, row, "the id is empty")
        else:
            has, unsure = (
                (cells.get(column) or "").split(naming.SEPARATOR)
                for column in ("labels", "unknown")
            )
            yield Row(file.name, row, id, "", "train", has, None, unknown=unsure)


def _of_label_studio(file: Path) -> Iterator[Row | Unreadable]:
    options = label_studio.Options(file=file.name, photos=".", image="image", labels="labels")
    return label_studio.rows(file.parent, options)


def _of_cvat(file: Path) -> Iterator[Row | Unreadable]:
    return cvat.rows(file.parent, cvat.Options(annotations=file.name, photos="."))


READERS = {".csv": _of_csv, ".json": _of_label_studio, ".xml": _of_cvat}


def _label_list(
    labels: Iterable[str], unknown: Iterable[str], rules: LabelRules | None
) -> LabelList:
    has, unsure = _names(labels), _names(unknown)
    unsure = tuple(name for name in unsure if name not in has)
    return _in_order(LabelList(*(rules(has, unsure) if rules else (has, unsure))))


def _names(labels: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, map(naming.clean, labels))))


def _in_order(labels: LabelList) -> LabelList:
    """The same labels, such that equal ones compare equal."""
    names = None if labels.names is None else tuple(sorted(labels.names))
    return LabelList(names, tuple(sorted(labels.unknown)))


def lay_over(
    corrections: Corrections, rows: Spool, label_lists: LabelLists, names: list[str], folder: Path
) -> Corrected:
    """Gives photos the labels of their corrections.

    Args:
        rows: of photos; ``label_list`` is a place in ``label_lists``.
        names: of the labels that there are; corrections bring no new ones.
        folder: a new one for the rows.
    """
    rejected = list(corrections.rejected)
    label_lists = list(label_lists)
    places: dict[str, int] = {}
    for id, (file, row, labels) in corrections.by_id.items():
        if strange := {*(labels.names or ()), *labels.unknown}.difference(names):
            reason = f"not among the labels (see ingest.labels): {', '.join(sorted(strange))}"
            rejected.append((file, row, id, reason))
        else:
            places[id] = len(label_lists)
            label_lists.append(labels)
    if not places:
        return Corrected(rows, label_lists, [], 0, [], rejected)

    schema = pl.Schema({"id": pl.String(), "corrected": rows.schema["label_list"]})
    overlay = pl.DataFrame(list(places.items()), schema, orient="row")
    corrected = Spool(rows.schema, folder)
    before: dict[str, int] = {}
    for part in rows.parts():
        laid = part.join(overlay, "id", "left", maintain_order="left")
        before |= dict(laid.drop_nulls("corrected").select("id", "label_list").iter_rows())
        counts = pl.coalesce("corrected", "label_list")
        corrected.extend(laid.with_columns(label_list=counts).drop("corrected"))
    for id in places.keys() - before.keys():
        file, row, _ = corrections.by_id[id]
        rejected.append((file, row, id, "no record has this id"))
    changed = sum(
        _in_order(label_lists[place]) != corrections.by_id[id].labels
        for id, place in before.items()
    )
    emptied = [
        id
        for id, place in before.items()
        if label_lists[place].names and not corrections.by_id[id].labels.names
    ]
    return Corrected(corrected, label_lists, list(before), changed, emptied, rejected)


def warnings(corrections: Corrections, emptied: list[str]) -> list[str]:
    """That corrections leave photos without a label, which may be meant, or not.

    Args:
        emptied: their ids.
    """
    if not emptied:
        return []
    rows = (f"{corrections.by_id[id].file} row {corrections.by_id[id].row}" for id in emptied)
    shown = ", ".join(f"{row} ({id})" for row, id in islice(zip(rows, emptied, strict=True), SHOWN))
    rest = f" and {len(emptied) - SHOWN:,} more" if len(emptied) > SHOWN else ""
    return [
        f"corrections that take the last label from a photo: {shown}{rest}; if one has a label all "
        "the same, name it there"
    ]

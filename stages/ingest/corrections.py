"""``ingest.corrections``: labels that people have put right, laid over those of the source.

A CSV with the columns ``id`` and ``labels``; labels are joined with ``|``, and an empty cell says
that the photo has none. Further columns do not count, so that rows of ``report/label_quality.csv``
can stand here as they are. The source's own files stay as they came.
"""

from pathlib import Path
from typing import NamedTuple

import polars as pl

from stages import UserError
from stages.ingest.listing import Rejected
from stages.ingest.records import SEPARATOR
from stages.ingest.sources.table import Records, csv_table
from stages.ingest.spool import Spool

LabelLists = list[tuple[str, ...] | None]


class Corrections(NamedTuple):
    """What a file of corrections says.

    Attributes:
        file: its path.
        labels: of each photo that it names, with the row that says so.
        rejected: the rows that say too little, or contradict each other.
    """

    file: str
    labels: dict[str, tuple[int, frozenset[str]]]
    rejected: list[Rejected]


class Corrected(NamedTuple):
    """The rows of photos, each with the labels that count.

    Attributes:
        rows: as they were, but for ``label_list``.
        label_lists: those that there were, and those of the corrections.
        applied: how many corrections there are of a photo's labels.
        changed: how many of those say something else than the source.
        rejected: the corrections that do not count.
    """

    rows: Spool
    label_lists: LabelLists
    applied: int
    changed: int
    rejected: list[Rejected]

    def figures(self) -> dict[str, int]:
        return {
            "applied": self.applied, "changed": self.changed, "set_aside": len(self.rejected),
        }  # fmt: skip


def read(file: str) -> Corrections:
    """Reads the CSV ``file``, UTF-8.

    Raises:
        UserError: it is no CSV, or has not just one column of each name.
    """
    try:
        text = Path(file).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not UTF-8 text: byte {error.start} is wrong") from error
    columns, records = csv_table(Path(file), text, ",")
    for name in ("id", "labels"):
        if columns.count(name) != 1:
            raise UserError(
                f"{file} needs one column {name}, but its header is {','.join(columns)!r}; give it "
                "id,labels and perhaps more, with a comma between the columns"
            )
    return _agreed(file, records)


def _agreed(file: str, records: Records) -> Corrections:
    said: dict[str, list[tuple[int, frozenset[str]]]] = {}
    rejected: list[Rejected] = []
    for row, cells in records:
        if isinstance(cells, str):
            rejected.append((file, row, "", cells))
        elif not (id := cells["id"] or "").strip():
            rejected.append((file, row, "", "the id is empty"))
        else:
            names = (name.strip() for name in (cells["labels"] or "").split(SEPARATOR))
            said.setdefault(id, []).append((row, frozenset(filter(None, names))))
    labels = {}
    for id, given in said.items():
        if len({names for _, names in given}) == 1:
            labels[id] = given[0]
            continue
        rows = ", ".join(str(row) for row, _ in given)
        reason = f"rows {rows} give this photo different labels; keep one of them"
        rejected += [(file, row, id, reason) for row, _ in given]
    return Corrections(file, labels, rejected)


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
    for id, (row, labels) in corrections.labels.items():
        if strange := labels.difference(names):
            reason = f"not among the labels (see ingest.labels): {', '.join(sorted(strange))}"
            rejected.append((corrections.file, row, id, reason))
        else:
            places[id] = len(label_lists)
            label_lists.append(tuple(sorted(labels)))
    if not places:
        return Corrected(rows, label_lists, 0, 0, rejected)

    schema = {"id": pl.String, "corrected": rows.schema["label_list"]}
    overlay = pl.DataFrame(list(places.items()), schema, orient="row")
    corrected = Spool(rows.schema, folder)
    before: dict[str, int] = {}
    for part in rows.parts():
        laid = part.join(overlay, "id", "left", maintain_order="left")
        before |= dict(laid.drop_nulls("corrected").select("id", "label_list").iter_rows())
        counts = pl.coalesce("corrected", "label_list")
        corrected.extend(laid.with_columns(label_list=counts).drop("corrected"))
    for id in places.keys() - before.keys():
        rejected.append((corrections.file, corrections.labels[id][0], id, "no record has this id"))
    changed = sum(
        label_lists[place] is None or set(label_lists[place]) != corrections.labels[id][1]
        for id, place in before.items()
    )
    return Corrected(corrected, label_lists, len(before), changed, rejected)

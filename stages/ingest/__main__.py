"""ingest: photos and labels from a source → records, image store, list of what was set aside."""

import gc
import warnings
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl

from stages import UserError, run
from stages.files import alone, whole, write_csv
from stages.ingest import earlier, records, sources
from stages.ingest.earlier import NO_NOTE, Earlier, Note
from stages.ingest.images import IMAGES, ImageWriter, Known, UnreadablePhoto
from stages.ingest.photos import open_all
from stages.ingest.sources import Row, Unreadable
from stages.metrics import write as write_metrics
from stages.params import Ingest, read
from stages.progress import track

REJECTED = Path("data/rejected.csv")

Rejected = tuple[str, int, str, str]  # file, row, photo, reason
Record = tuple[Any, ...]  # the columns of records.SCHEMA
LABELS = records.SCHEMA.names().index("labels")


def main() -> None:
    # What Pillow finds odd in a photo that it can read all the same.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    params = read(Ingest)
    listed = list(sources.rows(params))
    rows, rejected = set_aside(listed, params.labels)
    check_loss(len(listed), rejected, params)  # before the photos: decoding may take hours
    with (
        # Experiments share what was kept; none is to replace it under the hands of another.
        alone(earlier.place(params.image_size)),
        whole(IMAGES) as store,
        whole(records.RECORDS) as table,
    ):
        known = earlier.load(params.image_size)
        store.mkdir()
        with ImageWriter(store, params.image_size, known.store) as writer:
            taken, files, decoded, unreadable = take_in(rows, params, known, writer)
        rejected += unreadable
        check_loss(len(listed), rejected, params)
        names = params.labels or label_names(taken)
        found = as_records(taken, names)
        records.write(found, names, table)
        earlier.keep(store, found, files, params.image_size)
    write_metrics("ingest", figures(found, names, rejected))
    print(f"ingest: {len(found):,} photos, {decoded:,} decoded, {len(rejected):,} rows set aside")


def set_aside(
    listed: Iterable[Row | Unreadable], labels: list[str] | None
) -> tuple[list[Row], list[Rejected]]:
    """Parts the rows that can be records from those that cannot, whatever their photos are."""
    rows: list[Row] = []
    rejected: list[Rejected] = []
    first: dict[str, Row] = {}
    for row in listed:
        if isinstance(row, Unreadable):
            rejected.append((row.file, row.row, "", row.reason))
        elif reason := _fault(row, first.get(row.id), labels):
            rejected.append((row.file, row.row, _name(row), reason))
        else:
            first[row.id] = row
            rows.append(row)
    return rows, rejected


def _fault(row: Row, first: Row | None, labels: list[str] | None) -> str | None:
    """Why ``row`` cannot be a record; ``first`` is the row that has its id already."""
    if not row.id.strip():
        return "the id is empty"
    if first is not None:
        return f"the id {row.id} was used before: {first.file}, row {first.row}"
    if labels and (strange := set(row.labels or ()).difference(labels)):
        return f"not in ingest.labels: {', '.join(sorted(strange))}"
    try:
        "".join([row.id, row.caption or "", *(row.labels or ())]).encode()
    except UnicodeEncodeError as error:
        return f"its id, caption or labels are not text: {error.reason}"
    return None


def take_in(
    rows: list[Row], params: Ingest, known: Earlier, writer: ImageWriter
) -> tuple[list[Record], list[Note], int, list[Rejected]]:
    """Opens the photos of ``rows`` and writes them to the store.

    Returns:
        The records of those that could be opened, the notes of their files, how many of them had
        to be decoded, and the others.
    """
    taken: list[Record] = []
    files: list[Note] = []
    rejected: list[Rejected] = []
    decoded = 0
    opened = open_all(rows, Path(params.root), params.image_size, known)
    for row, photo in zip(rows, track(opened, "ingest", len(rows), "photos"), strict=True):
        if isinstance(photo, UnreadablePhoto):
            rejected.append((row.file, row.row, _name(row), str(photo)))
            continue
        decoded += not isinstance(photo.image, Known)
        image = writer.append(photo.image)
        said = (row.id, row.subset, row.labels, row.caption)
        seen = (photo.width, photo.height, photo.sha256, photo.dhash, image)
        taken.append((*said, *seen, row.delivery))
        files.append((row.photo, *photo.file) if photo.file else NO_NOTE)
    return taken, files, decoded, rejected


def check_loss(listed: int, rejected: list[Rejected], params: Ingest) -> None:
    """Lists what was set aside; ends the stage when it is all, or more than the user allows."""
    write_csv(REJECTED, ["file", "row", "photo", "reason"], sorted(rejected))
    if not listed:
        raise UserError(f"the source {params.source} lists no photo in {params.root}")
    if len(rejected) == listed or len(rejected) / listed > params.max_rejected:
        (reason, count), *_ = Counter(rejection[3] for rejection in rejected).most_common(1)
        limit = f"more than ingest.max_rejected = {params.max_rejected:g} allows"
        if len(rejected) == listed:
            limit = "so that none is left"
        raise UserError(
            f"{len(rejected):,} of {listed:,} rows were set aside, {limit}; "
            f"{REJECTED} lists them, {count:,} times: {reason}"
        )


def label_names(taken: list[Record]) -> list[str]:
    """Every label that a record carries, in the order of people."""
    return records.in_natural_order({name for record in taken for name in record[LABELS] or ()})


def as_records(taken: list[Record], names: list[str]) -> pl.DataFrame:
    """The table of records, each one's labels once and in the order of ``names``."""
    columns = dict(zip(records.SCHEMA, zip(*taken, strict=True), strict=True))
    # A list at a time is slow, so each kind of list is made once: few are as many as the photos.
    kinds: dict[tuple[str, ...] | None, int] = {}
    lists = (None if labels is None else tuple(labels) for labels in columns["labels"])
    kind = [kinds.setdefault(labels, len(kinds)) for labels in lists]
    place = {name: number for number, name in enumerate(names)}
    ordered = [None if k is None else sorted(set(k), key=place.__getitem__) for k in kinds]
    columns["labels"] = pl.Series(ordered, dtype=pl.List(pl.String)).gather(kind)
    return pl.DataFrame(columns, records.SCHEMA)


def figures(found: pl.DataFrame, names: list[str], rejected: list[Rejected]) -> dict[str, Any]:
    by_subset = dict(found["subset"].value_counts().sort("subset").iter_rows())
    return {
        "photos": {subset: by_subset.get(subset, 0) for subset in records.SUBSETS},
        "deliveries": found["delivery"].filter(found["delivery"] > 0).n_unique(),
        "labels": len(names),
        "photos_with_known_labels": len(found) - found["labels"].null_count(),
        "photos_with_caption": len(found) - found["caption"].null_count(),
        "photos_identical_to_another": len(found) - found["sha256"].n_unique(),
        "rejected": len(rejected),
    }


def _name(row: Row) -> str:
    return row.photo if isinstance(row.photo, str) else row.id


if __name__ == "__main__":
    gc.freeze()  # what the imports made stays; looking through it again and again takes longer
    run(main)

"""ingest: photos and labels from a source → records, image store, list of what was set aside."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl

from stages import UserError, run
from stages.files import whole, write_csv
from stages.ingest import earlier, records, sources
from stages.ingest.images import IMAGES, ImageWriter, Known, UnreadablePhoto
from stages.ingest.photos import open_all
from stages.ingest.sources import Row, Unreadable
from stages.metrics import write as write_metrics
from stages.params import Ingest, read
from stages.progress import track

REJECTED = Path("data/rejected.csv")

Rejected = tuple[str, int, str, str]  # file, row, photo, reason


def main() -> None:
    params = read(Ingest)
    listed = list(sources.rows(params))
    rows, rejected = set_aside(listed, params.labels)
    known = earlier.load(params.image_size)
    table: list[dict[str, Any]] = []
    decoded = 0
    with whole(IMAGES) as folder:
        folder.mkdir()
        writer = ImageWriter(folder, params.image_size, known.store)
        opened = open_all(rows, Path(params.root), params.image_size, known)
        for row, photo in zip(rows, track(opened, "ingest", len(rows), "photos"), strict=True):
            if isinstance(photo, UnreadablePhoto):
                rejected.append((row.file, row.row, _name(row), str(photo)))
                continue
            decoded += not isinstance(photo.image, Known)
            table.append(
                {
                    "id": row.id,
                    "subset": row.subset,
                    "labels": row.labels,
                    "caption": row.caption,
                    "width": photo.width,
                    "height": photo.height,
                    "sha256": photo.sha256,
                    "dhash": photo.dhash,
                    "image": writer.append(photo.image),
                }
            )
        writer.close()
        write_csv(REJECTED, ["file", "row", "photo", "reason"], sorted(rejected))
        check_loss(len(listed), rejected, params)
        found = pl.DataFrame(table, schema=records.SCHEMA)
        names = params.labels or label_names(found)
        records.write(in_label_order(found, names), names)
        earlier.keep(folder, found, params.image_size)
    print(f"ingest: {len(found):,} photos, {decoded:,} of them decoded, {len(rejected):,} set aside")
    write_metrics("ingest", figures(found, names, rejected))


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
        elif row.id in first:
            other = first[row.id]
            reason = f"the id {row.id} was used before: {other.file}, row {other.row}"
            rejected.append((row.file, row.row, _name(row), reason))
        elif labels and (strange := set(row.labels or ()).difference(labels)):
            reason = f"not in ingest.labels: {', '.join(sorted(strange))}"
            rejected.append((row.file, row.row, _name(row), reason))
        else:
            first[row.id] = row
            rows.append(row)
    return rows, rejected


def check_loss(listed: int, rejected: list[Rejected], params: Ingest) -> None:
    """Ends the stage when nothing is left, or more was set aside than the user allows."""
    if not listed:
        raise UserError(f"the source {params.source} lists no photo in {params.root}")
    fraction = len(rejected) / listed
    if fraction > params.max_rejected or fraction == 1:
        (reason, count), *_ = Counter(rejection[3] for rejection in rejected).most_common(1)
        raise UserError(
            f"{len(rejected):,} of {listed:,} rows were set aside, more than "
            f"ingest.max_rejected = {params.max_rejected:g} allows; {REJECTED} lists them, "
            f"{count:,} times: {reason}"
        )


def label_names(found: pl.DataFrame) -> list[str]:
    """Every label that a record carries, in the order of people."""
    return records.in_natural_order(found["labels"].explode().drop_nulls().unique())


def in_label_order(found: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    """Each record's labels once, in the order of ``names``."""
    order = pl.List(pl.Enum(names))
    labels = pl.col("labels").cast(order).list.unique().list.sort()
    return found.with_columns(labels.cast(pl.List(pl.String)))


def figures(found: pl.DataFrame, names: list[str], rejected: list[Rejected]) -> dict[str, Any]:
    by_subset = dict(found["subset"].value_counts().sort("subset").iter_rows())
    return {
        "photos": {subset: by_subset.get(subset, 0) for subset in records.SUBSETS},
        "labels": len(names),
        "photos_with_known_labels": len(found) - found["labels"].null_count(),
        "photos_with_caption": len(found) - found["caption"].null_count(),
        "photos_identical_to_another": len(found) - found["sha256"].n_unique(),
        "rejected": len(rejected),
    }


def _name(row: Row) -> str:
    return row.photo if isinstance(row.photo, str) else row.id


if __name__ == "__main__":
    run(main)

"""The figures of ``metrics/ingest.json``, and the lines that tell them."""

from collections.abc import Iterator
from typing import Any

import polars as pl

from stages.ingest import records
from stages.ingest.rejected import REJECTED


def outcome(metrics: dict[str, Any], decoded: int, no_photos: int) -> Iterator[str]:
    """What became of photos and corrections.

    Args:
        metrics: those of ``metrics/ingest.json``.
        decoded: how many photos had to be.
        no_photos: how many entries were set aside that cost no photo.
    """
    photos = sum(metrics["photos"].values())
    yield f"{photos:,} photos, {decoded:,} decoded, {metrics['rejected']:,} rows set aside"
    if no_photos:
        yield f"{no_photos:,} entries that cost no photo are in {REJECTED}"
    applied, changed, set_aside = metrics["corrections"].values()
    if applied or set_aside:
        yield (
            f"{applied:,} corrections applied, {changed:,} of them other than the source, "
            f"{set_aside:,} set aside"
        )


def measure(table: pl.LazyFrame, labels: int, rejected: int) -> dict[str, Any]:
    """The figures of ``metrics/ingest.json``, but for those of corrections."""
    column = pl.col
    # As hashes of 8 bytes, which take little memory; two may be the same by chance.
    photos = table.select(column("sha256").hash()).collect(engine="streaming").to_series()
    without = column("labels").list.len().eq(0) & column("unknown").is_null()
    figures = table.select(
        *(column("subset").eq(subset).sum().alias(subset) for subset in records.SUBSETS),
        deliveries=column("delivery").filter(column("delivery") > 0).n_unique(),
        labels=pl.lit(labels),
        photos_with_known_labels=column("labels").count(),
        photos_with_partly_known_labels=column("unknown").count(),
        photos_with_unknown_labels=column("labels").null_count(),
        photos_without_label=without.sum(),
        photos_with_caption=column("caption").count(),
        photos_identical_to_another=pl.lit(len(photos) - photos.n_unique()),
        rejected=pl.lit(rejected),
    )
    (row,) = figures.collect(engine="streaming").to_dicts()
    return {"photos": {subset: row.pop(subset) for subset in records.SUBSETS}} | row

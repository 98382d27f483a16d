"""ingest: photos and labels from a source → records, image store, list of what was set aside."""

import gc
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl

from stages import UserError, run
from stages.files import alone, room, whole, write_csv
from stages.ingest import corrections, decode_cache, records, sources
from stages.ingest.corrections import LabelLists
from stages.ingest.decode_cache import NO_STATE
from stages.ingest.images import IMAGES, ImageWriter, Known, UnreadablePhoto
from stages.ingest.listing import LISTED, Listing, Rejected, list_rows
from stages.ingest.params import Ingest
from stages.ingest.photos import Files, open_all
from stages.ingest.spool import Spool
from stages.metrics import write as write_metrics
from stages.params import read
from stages.progress import Progress

REJECTED = Path("data/rejected.csv")

# What opening a photo has told, the one at this row of a part of the listing.
SEEN = pl.Schema(
    {"at": pl.UInt32}
    | {name: records.SCHEMA[name] for name in ("width", "height", "sha256", "dhash", "image")}
    | decode_cache.STATE
)
TAKEN = pl.Schema(LISTED | SEEN)


def main() -> None:
    # What Pillow finds odd in a photo that it can read all the same.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    params = read(Ingest)
    sources.chosen(params)  # what is wrong with its options is said before anything is read
    with room(REJECTED.with_name("rows")) as folder:
        ingest(params, folder)


def ingest(params: Ingest, folder: Path) -> None:
    """Runs the stage; what is only for now lies in ``folder``."""
    overlay = corrections.read(Path(params.corrections))
    listing = list_rows(params, folder)
    check_loss(listing.count, listing.rejected, params)  # before hours of decoding
    with (
        # Experiments share what was kept; none is to replace it under the hands of another.
        alone(decode_cache.place(params.image_size)),
        whole(IMAGES) as store,
        whole(records.RECORDS) as table,
    ):
        store.mkdir()
        taken, decoded, unreadable = take_in(listing, params, store, folder)
        rejected = listing.rejected + unreadable
        check_loss(listing.count, rejected, params)
        allowed = params.labels or label_names(taken, listing.label_lists)
        right = corrections.lay_over(
            overlay, taken, listing.label_lists, allowed, folder / "corrected"
        )
        write_rejected(rejected + right.rejected)
        names = params.labels or label_names(right.rows, right.label_lists)
        found = as_records(right.rows, right.label_lists, names, folder)
        records.write(found.scan(), names, table)
        decode_cache.keep(store, taken.scan(), params.image_size)
        write_csv(corrections.CHECKED, ["id"], ([id] for id in right.checked))
        told = figures(found.scan(), names, rejected) | {"corrections": right.figures()}
    write_metrics("ingest", told)
    photos = sum(told["photos"].values())
    print(f"ingest: {photos:,} photos, {decoded:,} decoded, {len(rejected):,} rows set aside")
    if overlay.labels or overlay.rejected:
        print(
            f"ingest: {len(right.checked):,} corrections applied, {right.changed:,} of them other "
            f"than the source, {len(right.rejected):,} set aside"
        )


def take_in(
    listing: Listing, params: Ingest, store: Path, folder: Path
) -> tuple[Spool, int, list[Rejected]]:
    """Opens the photos of the rows and writes them to the store.

    Returns:
        The rows whose photos could be opened, with what was seen (columns of ``TAKEN``); how many
        photos had to be decoded; and the other rows.
    """
    known = decode_cache.load(params.image_size)
    files = Files(Path(params.root))
    taken = Spool(TAKEN, folder / "taken")
    rejected: list[Rejected] = []
    decoded = 0
    with (
        ImageWriter(store, params.image_size, known.store) as writer,
        Progress("ingest", listing.count - len(listing.rejected), "photos") as progress,
    ):
        for rows in listing.rows.parts():
            photos = [listing.makers.get(*each) for each in rows.select("number", "photo").rows()]
            seen = []
            for at, photo in enumerate(open_all(photos, files, params.image_size, known)):
                progress.advance()
                if isinstance(photo, UnreadablePhoto):
                    listed = rows.select("file", "row", pl.coalesce("photo", "id")).row(at)
                    rejected.append((*listed, str(photo)))
                    continue
                decoded += not isinstance(photo.image, Known)
                image = writer.append(photo.image)
                said = (at, photo.width, photo.height, photo.sha256, photo.dhash, image)
                seen.append((*said, *(photo.file or NO_STATE)))
            found = pl.DataFrame(seen, SEEN, orient="row")
            taken.extend(rows[found["at"]].hstack(found))
    return taken, decoded, rejected


def check_loss(listed: int, rejected: list[Rejected], params: Ingest) -> None:
    """Lists what was set aside; ends the stage when it is all, or more than the user allows."""
    write_rejected(rejected)
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


def write_rejected(rejected: list[Rejected]) -> None:
    write_csv(REJECTED, ["file", "row", "photo", "reason"], sorted(rejected))


def label_names(taken: Spool, label_lists: LabelLists) -> list[str]:
    """Every label that a record carries, in the order of people."""
    used = taken.scan().select(pl.col("label_list").unique()).collect().to_series()
    lists = (label_lists[number] for number in used)
    return records.in_natural_order({name for labels in lists for name in labels or ()})


def as_records(taken: Spool, label_lists: LabelLists, names: list[str], folder: Path) -> Spool:
    """The records, each one's labels once and in the order of ``names``."""
    place = {name: number for number, name in enumerate(names)}
    ordered = [
        None if labels is None else sorted(place.keys() & labels, key=place.__getitem__)
        for labels in label_lists
    ]
    series = pl.Series("labels", ordered, pl.List(pl.String))
    found = Spool(records.SCHEMA, folder / "records")
    for part in taken.parts():
        labels = series.gather(part["label_list"])
        found.extend(part.with_columns(labels).select(records.SCHEMA.names()))
    return found


def figures(found: pl.LazyFrame, names: list[str], rejected: list[Rejected]) -> dict[str, Any]:
    column = pl.col
    told = found.select(
        *(column("subset").eq(subset).sum().alias(subset) for subset in records.SUBSETS),
        deliveries=column("delivery").filter(column("delivery") > 0).n_unique(),
        labels=pl.lit(len(names)),
        photos_with_known_labels=column("labels").count(),
        photos_with_caption=column("caption").count(),
        photos_identical_to_another=pl.len() - column("sha256").n_unique(),
        rejected=pl.lit(len(rejected)),
    )
    (row,) = told.collect(engine="streaming").to_dicts()
    return {"photos": {subset: row.pop(subset) for subset in records.SUBSETS}} | row


if __name__ == "__main__":
    gc.freeze()  # what the imports made stays; looking through it again and again takes longer
    run(main)

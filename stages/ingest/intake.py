"""From the rows of a listing to photos in the image store, and to records."""

import time
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path

import polars as pl

from stages.ingest import addresses, decode_cache, records
from stages.ingest.decode_cache import NO_STATE, STATE
from stages.ingest.images import SHARD_ROWS, ImageWriter, Known, UnreadablePhoto
from stages.ingest.listing import LISTED, LabelList, LabelLists, Listing
from stages.ingest.missing import Hints
from stages.ingest.params import Ingest
from stages.ingest.photos import Files, MissingPhoto
from stages.ingest.rejected import Rejected
from stages.ingest.shards import write_all
from stages.ingest.spool import Spool
from stages.progress import Progress

SECONDS_BETWEEN_KEEPING = 600
# What opening a photo has shown, the one at this row of a part of the listing.
SEEN = pl.Schema(
    {
        "at": pl.UInt32(),
        **{name: records.SCHEMA[name] for name in ("width", "height", "sha256", "dhash", "image")},
        **STATE,
        "misfit": decode_cache.INDEX_SCHEMA["misfit"],
    }
)
TAKEN = pl.Schema(LISTED | SEEN)


def take_in(
    listing: Listing,
    params: Ingest,
    files: Files,
    unfetched: Mapping[str, str],
    store: Path,
    folder: Path,
) -> tuple[Spool, int, list[Rejected]]:
    """Opens the photos of the rows and writes them to the store.

    Args:
        files: those of the photos.
        unfetched: why photos at addresses could not be fetched, by these.
        store: an empty folder for the shards.
        folder: for a table that is only for now.

    Returns:
        The rows whose photos could be opened, with what was seen (columns of ``TAKEN``); how many
        photos had to be decoded; and the other rows.
    """
    cache = decode_cache.load(params.form, params.store)
    hints = Hints(params, unfetched)
    taken = Spool(TAKEN, folder / "taken")
    rejected: list[Rejected] = []
    decoded = 0
    first = 0  # row of the part
    kept = time.monotonic()
    with (
        ImageWriter(store, params.form, params.store, cache.store) as writer,
        Progress("ingest", listing.total - len(listing.rejected), "photos") as progress,
    ):
        photos = (
            [listing.makers.get(*each) for each in rows.select("number", "photo").rows()]
            for rows in listing.rows.parts()
        )
        opened = write_all(photos, writer, files, cache)
        for rows in listing.rows.parts():
            seen = []
            for at, photo in enumerate(islice(opened, len(rows))):
                progress.advance()
                if isinstance(photo, UnreadablePhoto):
                    file, row, path, id = rows.select("file", "row", "photo", "id").row(at)
                    is_missing = isinstance(photo, MissingPhoto)
                    reason = hints.reason(path, id) if is_missing else str(photo)
                    rejected.append((file, row, path or id, reason))
                    addresses.forget(path or "")
                    continue
                decoded += not isinstance(photo.image, Known)
                hashes, state = (photo.sha256, photo.dhash), photo.file or NO_STATE
                size = photo.width, photo.height
                seen.append((at, *size, *hashes, first + at, *state, photo.misfit))
            columns = pl.DataFrame(seen, SEEN, orient="row")
            taken.extend(rows[columns["at"]].hstack(columns))
            first += len(rows)
            if time.monotonic() - kept > SECONDS_BETWEEN_KEEPING:
                kind = params.form, params.store
                decode_cache.keep(store, taken.scan(), *kind, shards=first // SHARD_ROWS)
                kept = time.monotonic()
    return taken, decoded, rejected


def label_names(taken: Spool, label_lists: LabelLists) -> list[str]:
    """Every label that a photo carries, in natural order."""
    used = taken.scan().select(pl.col("label_list").unique()).collect().to_series()
    lists = (label_lists[number].names for number in used)
    return records.in_natural_order({name for names in lists for name in names or ()})


def as_records(taken: Spool, label_lists: LabelLists, names: list[str], folder: Path) -> Spool:
    """The records, each one's labels once and in the order of ``names``.

    Args:
        taken: columns of ``TAKEN``; ``label_list`` is a place in ``label_lists``.
        folder: for a table that is only for now.
    """
    place = {name: number for number, name in enumerate(names)}

    def ordered(some: Iterable[str] | None) -> list[str] | None:
        return None if some is None else sorted(place.keys() & some, key=place.__getitem__)

    def columns_of(labels: LabelList) -> tuple[list[str] | None, list[str] | None]:
        unknown = ordered(labels.unknown) or None
        if not labels.names and unknown and len(unknown) == len(names):  # nothing is known
            return None, None
        return ordered(labels.names), unknown

    pairs = [columns_of(labels) for labels in label_lists]
    kind = pl.List(pl.String)
    columns = pl.DataFrame(pairs, {"labels": kind, "unknown": kind}, orient="row")
    schema = pl.Schema(records.SCHEMA | records.OPTIONAL)
    table = Spool(schema, folder / "records")
    for part in taken.parts():
        labels = columns[part["label_list"]]
        table.extend(part.with_columns(*labels).select(schema.names()))
    return table

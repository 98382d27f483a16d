"""What the stage ingest itself lists by a candidate."""

import io
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from experiments.look.candidate import Candidate
from experiments.look.index import Index
from experiments.params import overlay
from stages.ingest import records, summary
from stages.ingest.addresses import is_address
from stages.ingest.label_rules import LabelRules
from stages.ingest.listing import LabelList, LabelLists, Listing, list_rows
from stages.ingest.missing import Hints
from stages.ingest.params import Ingest
from stages.ingest.sources import plain_path
from stages.params import check

SHOWN = 3  # reasons, at most
COLUMNS = ("number", "id", "photo", "subset", "part", "label_list", "group", "time")


class Verified(NamedTuple):
    """A candidate, and what it lists.

    Attributes:
        params: the section ``ingest``, its root the folder.
        rows: those whose photos are there, or at addresses; ``COLUMNS`` and ``captioned``.
        label_lists, makers: as in ``Listing``.
        labels: as ``summary.count_labels`` has them, of these rows.
        doubts: what is probably a mistake.
    """

    candidate: Candidate
    params: Ingest
    rows: pl.DataFrame
    label_lists: LabelLists
    makers: dict[int, Callable[[], bytes]]
    labels: pl.DataFrame
    doubts: list[str]


def verified(candidate: Candidate, base: dict[str, Any], index: Index) -> Verified:
    """What ``candidate`` lists, over ``base``, the content of ``params.yaml``.

    Raises:
        UserError: it lists nothing, for the reason that ingest would give.
    """
    section = overlay(base["ingest"], candidate.ingest, "ingest.") | {"root": str(index.root)}
    params = check(Ingest, section, "ingest")
    said = io.StringIO()
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(said):
        listing = list_rows(params, LabelRules(params), Path(folder))
        rows = listing.rows.scan().with_columns(captioned=pl.col("caption").is_not_null())
        table = rows.select(*COLUMNS, "captioned").collect()
    is_there = [_is_there(photo, index) for photo in table["photo"]]
    there = table.filter(pl.Series(is_there, dtype=pl.Boolean))
    labels = _counted(there, listing.label_lists)
    missing = table.filter(~pl.Series(is_there, dtype=pl.Boolean))
    doubts = [
        *(line.removeprefix("ingest: ") for line in said.getvalue().splitlines()),
        *_set_aside(listing, missing, params),
        *_not_named(there, index, params),
        *summary.doubts(labels, params.source),
    ]
    return Verified(
        *(candidate, params, there, listing.label_lists, listing.makers, labels),
        [*candidate.doubts, *doubts],
    )


def _is_there(photo: str | None, index: Index) -> bool:
    if photo is None or is_address(photo):
        return True
    return plain_path(photo.replace("\\", "/")) in index.photos


def _counted(rows: pl.DataFrame, lists: LabelLists) -> pl.DataFrame:
    """How many of ``rows`` have each label."""
    used = [lists[place] for place in rows["label_list"].unique()]
    names = records.in_natural_order({name for each in used for name in each.names or ()})
    kind = pl.List(pl.String)
    said = pl.DataFrame({
        "labels": pl.Series([_listed(each) for each in lists], dtype=kind),
        "unknown": pl.Series([list(each.unknown) or None for each in lists], dtype=kind),
    })  # fmt: skip
    return summary.count_labels(said[rows["label_list"]].lazy(), names)


def _listed(labels: LabelList) -> list[str] | None:
    return None if labels.names is None else list(labels.names)


def _set_aside(listing: Listing, missing: pl.DataFrame, params: Ingest) -> Iterator[str]:
    """What cannot be a record, and the photos that are not there, with what would help."""
    reasons = Counter(reason for *_, reason in listing.rejected)
    for reason, count in reasons.most_common(SHOWN):
        yield f"set aside, {count:,} times: {reason}"
    hints = Hints(params, {})
    for photo, id in missing.head(1).select("photo", "id").rows():
        reason = hints.reason(photo, id)
        yield f"{len(missing):,} photos that are listed are not there, such as {photo}: {reason}"
    lost = len(missing) + len(listing.rejected)
    if lost > params.max_rejected * listing.total:
        yield (
            f"{lost:,} of {listing.total:,} rows would be set aside, more than ingest.max_rejected "
            f"({params.max_rejected:g}) allows: mend them, or raise it"
        )


def _not_named(there: pl.DataFrame, index: Index, params: Ingest) -> Iterator[str]:
    used = {plain_path(photo.replace("\\", "/")) for photo in there["photo"].drop_nulls()}
    left = index.photos - used
    if params.source == "folders":  # what lies in several is one photo, in the first of them
        names = {Path(photo).name for photo in used}
        left = {photo for photo in left if Path(photo).name not in names}
    if left:
        yield f"{len(left):,} photos of the folder are not in what is read, such as {min(left)}"

"""What a folder is: the candidates of all shapes, tried, and the one that is believed."""

import os
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import polars as pl

from experiments.look import class_files, coco, folders, kaggle, labelling_tools, tables, voc, yolo
from experiments.look.candidate import SHARES, Candidate
from experiments.look.index import Index
from experiments.look.verified import Verified, verified
from stages import UserError
from stages.ingest.addresses import SCHEMES
from stages.ingest.decoder import decode
from stages.ingest.images import UnreadablePhoto
from stages.ingest.records import SUBSETS

SHAPES = (coco, yolo, voc, labelling_tools, kaggle, tables, class_files, folders)
SAMPLE = 24  # photos that are opened
SIDE = 160  # pixels, of those on a contact sheet
SHOWN = 5
RULES = ("labels", "rename", "none", "ignore")
AT_ADDRESS = pl.any_horizontal(
    pl.col("photo").fill_null("").str.starts_with(scheme) for scheme in SCHEMES
)


@dataclass(frozen=True)
class Shown:
    """A photo of the sample.

    Attributes:
        pixels: uint8 (``SIDE``, ``SIDE``, 3).
        width, height: its own.
        labels: those that are read; None: not known.
    """

    pixels: np.ndarray
    width: int
    height: int
    labels: list[str] | None


@dataclass(frozen=True)
class Look:
    """What a folder is.

    Attributes:
        folder: that was looked at.
        shape: what it is, for people.
        ingest: what to change in the section ``ingest``, without its root.
        reasons: why, by whole keys, ``ingest.table.labels``.
        photos: how many there are to learn from, ``validation`` of them in a part of their own.
        test_photos, captions: how many there are.
        labels: the names, and how many photos have each.
        groups: how many, of photos that belong together.
        times: how many photos say when they were taken.
        doubts: what may be a mistake, or be meant otherwise.
        others: other sections that could be meant, each with what the folder then is.
        sample: a few photos, opened.
    """

    folder: Path
    shape: str
    ingest: dict[str, Any]
    reasons: dict[str, str]
    photos: int
    validation: int
    test_photos: int
    captions: int
    labels: dict[str, int]
    groups: int
    times: int
    doubts: list[str]
    others: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    sample: list[Shown] = field(default_factory=list, repr=False)

    @property
    def sides(self) -> tuple[int, int] | None:
        """Width and height of photos, in pixels: medians of the sample; None where it is empty."""
        if not self.sample:
            return None
        widths, heights = zip(*((each.width, each.height) for each in self.sample), strict=True)
        return round(median(widths)), round(median(heights))


def look(folder: Path, base: dict[str, Any]) -> Look:
    """Looks at ``folder``.

    Args:
        base: the content of ``params.yaml``, whose values hold where nothing is proposed.

    Raises:
        UserError: it holds no photos, or nothing that says which labels they have.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder")
    index = Index(folder)
    troubles = [f"{path} may not be read" for path in index.unreadable]
    tried: list[Verified] = []
    for candidate in chain.from_iterable(each.candidates(index, troubles) for each in SHAPES):
        try:
            found = verified(_over(base, candidate), base, index)
        except (UserError, OSError) as error:
            troubles.append(f"{candidate.shape}: {error}")
            continue
        if len(found.rows) and len(found.labels):
            tried.append(found)
        else:
            troubles.append(f"{candidate.shape}: no photo of it is there with a label")
    if not tried:
        raise UserError(_nothing(index, troubles))
    most = max(len(each.rows) for each in tried)
    best = max(tried, key=lambda each: _worth(each, most))
    best.doubts.extend(f"not read: {trouble}" for trouble in troubles[:SHOWN])
    others = (each.candidate for each in tried if each is not best)
    return _look(folder, best, [each for each in others if each.rank > SHARES])


def _over(base: dict[str, Any], candidate: Candidate) -> Candidate:
    """The candidate without what ``base`` has anyway, and nothing speaks for.

    Rules for labels that ``base`` has, as a project's own does, are those of other labels.
    """
    known = base["ingest"].get(candidate.source) or {}
    options = {
        key: value
        for key, value in candidate.options.items()
        if key in candidate.why or value != known.get(key)
    }
    rules = {key: (None, "") for key in RULES if base["ingest"][key] is not None}
    return candidate._replace(options=options, more=rules | candidate.more)


def _worth(tried: Verified, most: int) -> tuple[bool, int, int]:
    """Of two that list about as many photos, the one that is less likely to do so by chance."""
    count = len(tried.rows)
    return 2 * count >= most, tried.candidate.rank, round(10 * count / most)


def _nothing(index: Index, troubles: list[str]) -> str:
    """Why nothing can be proposed, and what there is."""
    if not index.photos and not troubles:
        return f"{index.root} holds no photos, and no table of photos in cells or at addresses"
    count = index.folders()
    where = ", ".join(f"{name} ({number:,})" for name, number in [*count.items()][:SHOWN])
    more = f" and {len(count) - SHOWN} more folders" if len(count) > SHOWN else ""
    others = ", ".join(index.others[:SHOWN]) + (", …" if len(index.others) > SHOWN else "")
    return (
        f"{index.root} holds {len(index.photos):,} photos"
        + (f", in {where}{more}" if where else "")
        + (f", and {others}" if others else "")
        + ", but nothing that says which labels they have, in a shape that is known: the shapes "
        + "are in docs/data.md"
        + ("; unpack archives first" if index.has_archives else "")
        + "".join(f"\n  {trouble}" for trouble in troubles[:SHOWN])
    )


def _look(folder: Path, best: Verified, others: list[Candidate]) -> Look:
    rows, candidate = best.rows, best.candidate
    train, test = (rows.filter(pl.col("subset") == subset) for subset in SUBSETS)
    sample, unreadable = _sample(folder, best)
    doubts = [*best.doubts, *unreadable]
    if count := len(rows.filter(AT_ADDRESS)):
        doubts.append(f"{count:,} photos are at addresses, and nobody has asked for them yet")
    return Look(
        folder=folder,
        shape=candidate.shape,
        ingest=candidate.ingest,
        reasons=candidate.reasons,
        photos=len(train),
        validation=len(train.filter(pl.col("part") == "validation")),
        test_photos=len(test),
        captions=len(rows.filter("captioned")),
        labels=dict(best.labels.select("label", "photos").iter_rows()),
        groups=rows["group"].drop_nulls().n_unique(),
        times=rows["time"].count(),
        doubts=doubts,
        others=[(each.shape, each.ingest) for each in others],
        sample=sample,
    )


def _sample(folder: Path, found: Verified) -> tuple[list[Shown], list[str]]:
    """A few photos, from all over the rows, and why others of them cannot be read."""
    here = found.rows.filter(~AT_ADDRESS)
    shown: list[Shown] = []
    unreadable: dict[str, str] = {}  # why, by id
    for row in here.gather_every(max(1, len(here) // SAMPLE)).head(SAMPLE).to_dicts():
        make = found.makers.get(row["number"])
        file = folder / (row["photo"] or "").replace("\\", "/")
        if make is None and not file.is_file():
            if os.path.lexists(file):  # else it is in an archive
                unreadable[row["id"]] = "it is no file, or a link to nothing"
            continue
        try:
            content = make() if make else file.read_bytes()
            photo = decode(content, SIDE, found.params.depth, "pad")
        except (UnreadablePhoto, OSError) as error:
            unreadable[row["id"]] = str(error)
            continue
        names = found.label_lists[row["label_list"]].names
        labels = None if names is None else list(names)
        shown.append(Shown(photo.pixels, photo.width, photo.height, labels))
    if not unreadable:
        return shown, []
    id, why = next(iter(unreadable.items()))
    opened = len(unreadable) + len(shown)
    return shown, [f"{len(unreadable)} of {opened} photos cannot be read, such as {id}: {why}"]

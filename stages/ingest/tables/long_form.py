"""Tables with a row for each photo and label, as those of Open Images
(https://storage.googleapis.com/openimages/web/download_v7.html)."""

from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any

import polars as pl

from stages.ingest.sources import Row, Unreadable
from stages.ingest.tables.about import About, AboutReader, ids_of
from stages.ingest.tables.cells import KEPT, NOT_KNOWN, Kept, LabelCell, Labels
from stages.ingest.tables.duplicates import merge
from stages.ingest.tables.labels import label_cell, values_of
from stages.ingest.tables.opened import Opened, about_readers
from stages.ingest.tables.options import Options
from stages.ingest.tables.photos import Folders

PART = 1 << 16  # rows
ENTRIES = pl.Schema(
    {
        "id": pl.String(),
        "row": pl.Int64(),
        "code": pl.Int32(),  # of what is said of a label; null: the row names none
        "about": pl.Int32(),  # a place among all that is said beside labels
        "file": pl.Int32(),  # a place among the files
    }
)
UNSURE, NO, YES = 0, 1, 2  # a code is three times the label's place and one of these
CODES = {False: NO, None: UNSURE, True: YES}


def rows(root: Path, options: Options, opened: Sequence[Opened]) -> Iterator[Row | Unreadable]:
    """A row a photo, in the order in which the files name them first.

    Raises:
        UserError: there is no folder of photos.
    """
    folders = Folders(root, options.folders, options.pattern)
    entries = _Entries(options, opened)
    frames = [pl.DataFrame(schema=ENTRIES)]
    for part, faults in entries.parts():
        frames.append(part)
        yield from faults
    # Twenty bytes a row and its id: Python's own lists would take many times as much.
    photos = (
        pl.concat(frames)
        .group_by("id", maintain_order=True)
        .agg(
            pl.col("file", "row").first(),
            pl.col("code").drop_nulls().unique().sort(),
            pl.col("about").unique(maintain_order=True),
        )
    )
    del frames
    said = lru_cache(KEPT)(_Said(list(entries.names), is_asked=options.absent == "unknown"))
    abouts = list(entries.abouts)
    for part in photos.iter_slices(PART):
        paths = folders.paths(part["id"].to_list())
        for photo, (id, place, number, codes, others) in zip(paths, part.iter_rows(), strict=True):
            if id in entries.spoilt:
                continue
            labels, unknown = said(tuple(codes))
            alike = []
            for subset, part_of, caption, group, time in (abouts[other] for other in others):
                known = labels if codes or subset == "train" else None
                alike.append(
                    Row(
                        *(opened[place].file, number, id, photo, subset, known, caption),
                        *(0, unknown, group, time, part_of),
                    )
                )
            yield merge(alike) if len(alike) > 1 else alike[0]


class _Entries:
    """What each row says: of which photo, and what.

    Attributes:
        names: of labels, in the order of their places.
        abouts: all that is said beside labels, each once, in the order of their places.
        spoilt: ids of photos that have a row which says nothing: their labels cannot be told.
    """

    def __init__(self, options: Options, opened: Sequence[Opened]) -> None:
        self._options, self._opened = options, opened
        self.names: dict[str, int] = {}
        self.abouts: dict[tuple[Any, ...], int] = {}
        self.spoilt: set[str] = set()

    def parts(self) -> Iterator[tuple[pl.DataFrame, list[Unreadable]]]:
        """The rows in parts, columns of ``ENTRIES``, and those that cannot be read."""
        readers = about_readers(self._opened, self._options)
        for file, (opened, about_of) in enumerate(zip(self._opened, readers, strict=True)):
            columns: list[list[Any]] = [[] for _ in ENTRIES]
            unreadable: list[Unreadable] = []
            for more, faults in self._of_file(opened, about_of):
                for column, cells in zip(columns, [*more, repeat(file, len(more[0]))], strict=True):
                    column.extend(cells)
                unreadable += faults
                if len(columns[0]) > PART:
                    yield pl.DataFrame(columns, ENTRIES, orient="col"), unreadable
                    columns, unreadable = [[] for _ in ENTRIES], []
            yield pl.DataFrame(columns, ENTRIES, orient="col"), unreadable

    def _of_file(
        self, opened: Opened, about_of: AboutReader
    ) -> Iterator[tuple[list[Sequence[Any]], list[Unreadable]]]:
        values = values_of(self._options)
        states_of = Kept(lambda cell: CODES[values(cell)])
        places_of = Kept(partial(self._places, label_cell(opened.path, self._options)))
        value = [self._options.value] if self._options.value and opened.taken else []
        order = [*opened.taken, str(self._options.id), *value, *about_of.columns]
        for batch in opened.table.read(order):
            faults: dict[int, str] = {}
            others = list(batch.columns)
            labels = others.pop(0) if opened.taken else None
            ids = others.pop(0)
            places = places_of(labels, faults) if labels is not None else [()] * len(ids)
            states = states_of(others.pop(0), faults) if value else [YES] * len(ids)
            abouts = self._abouts(about_of(others, faults), len(ids), bool(others))
            columns: list[Sequence[Any]] = [ids_of(ids, faults), batch.numbers, states, abouts]
            unreadable = [Unreadable(opened.file, *each) for each in batch.faults]
            for at, reason in faults.items():
                is_first = columns[0][at] not in self.spoilt
                self.spoilt.add(columns[0][at])
                number = batch.numbers[at]
                unreadable.append(Unreadable(opened.file, number, reason, costs_photo=is_first))
            if faults or any(len(each) != 1 for each in set(places)):  # a row is none, or several
                good = [row for row in range(len(ids)) if row not in faults]
                rows = [row for row in good for _ in places[row] or (None,)]
                columns = [[column[row] for row in rows] for column in columns]
                places = [places[row] or (None,) for row in good]
            columns[2] = [
                None if place is None else 3 * place + state
                for place, state in zip(chain.from_iterable(places), columns[2], strict=True)
            ]
            yield columns, unreadable

    def _places(self, read: LabelCell, cell: Any) -> tuple[int, ...]:
        names = self.names
        return tuple(names.setdefault(name, len(names)) for name in read(cell).names or ())

    def _abouts(self, about: About, count: int, differ: bool) -> list[int]:
        abouts = self.abouts
        if not differ:
            [said] = islice(zip(*about, strict=False), 1)
            return [abouts.setdefault(said, len(abouts))] * count
        each_row = islice(zip(*about, strict=False), count)
        return [abouts.setdefault(said, len(abouts)) for said in each_row]


class _Said:
    """What codes say of a photo: yes outranks no, and no outranks that it is not known.

    Args:
        names: of all labels.
        is_asked: whether labels of which no code says anything are not known.
    """

    def __init__(self, names: Sequence[str], *, is_asked: bool) -> None:
        self._names, self._is_asked = names, is_asked

    def __call__(self, codes: tuple[int, ...]) -> Labels:
        states: dict[int, int] = {}
        for code in codes:  # in order, so that the last of a label is the highest
            states[code // 3] = code % 3
        names = self._names
        unknown = [names[place] for place, state in states.items() if state == UNSURE]
        if self._is_asked:
            unknown += [name for place, name in enumerate(names) if place not in states]
        has = [names[place] for place, state in states.items() if state == YES]
        if names and len(unknown) == len(names):
            return NOT_KNOWN
        return Labels(has, tuple(unknown))

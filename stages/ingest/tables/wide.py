"""Tables with a row a photo."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any

from stages.ingest.sources import Row, Unreadable
from stages.ingest.tables.about import AboutReader, ids_of
from stages.ingest.tables.cells import EMPTY, NOT_KNOWN, keys
from stages.ingest.tables.files import Batch
from stages.ingest.tables.labels import label_reader
from stages.ingest.tables.opened import Opened, about_readers
from stages.ingest.tables.options import Options
from stages.ingest.tables.photos import Folders, PhotoInCell, check_photos, names_in_cells

# A row of all its values in order, several times as fast as by their names.
as_row: Callable[[tuple[Any, ...]], Row] = partial(tuple.__new__, Row)


def maker(
    root: Path, options: Options, opened: Sequence[Opened]
) -> Callable[[], Iterator[list[Row | Unreadable]]]:
    """What makes the rows of the files, each time anew, in batches.

    Raises:
        UserError: there is no folder of photos, or no column of them.
    """
    if options.image:
        for each in opened:
            check_photos(each.path, options.image, each.table.types.get(options.image))
    folders = Folders(root, options.folders, options.pattern)
    asked = _asked(opened, options) if options.absent == "unknown" else ()
    readers = about_readers(opened, options)
    files = [
        _File(each, about_of, options, folders, asked)
        for each, about_of in zip(opened, readers, strict=True)
    ]
    return lambda: (rows for file in files for rows in file.rows())


def _asked(opened: Sequence[Opened], options: Options) -> tuple[str, ...]:
    """The names that dictionaries of labels have."""
    if not isinstance(options.labels, str):
        return ()
    names: dict[str, None] = {}
    for each in (file for file in opened if file.taken):
        for batch in each.table.read([options.labels]):
            for cell in batch.columns[0]:
                names |= dict.fromkeys(keys(cell))
    return tuple(names)


class _File:
    """A file, and how its columns are read."""

    def __init__(
        self,
        opened: Opened,
        about_of: AboutReader,
        options: Options,
        folders: Folders,
        asked: tuple[str, ...],
    ) -> None:
        self._opened, self._about_of, self._folders = opened, about_of, folders
        self._labels_of = label_reader(opened.path, opened.taken, options, asked)
        self._image, self._id = options.image, options.id
        # In a file that tells a cell that is empty from one that says none, it does not mean both.
        may_be_test = options.subset is not None or opened.part == "test"
        self._empty_is_unknown = may_be_test and not opened.table.tells_empty

    def rows(self) -> Iterator[list[Row | Unreadable]]:
        """A row a photo, in batches."""
        ids = [self._id] if self._id else []
        names = [] if self._id or not self._image else self._names(self._image)
        for batch in self._opened.table.read([*self._opened.taken, *ids, *self._about_of.columns]):
            if names:
                at = len(self._opened.taken)
                first = batch.numbers[0] - 1
                column = names[first : first + len(batch.numbers)]
                batch.columns.insert(at, column)
            yield self._rows(batch)

    def _names(self, image: str) -> list[str]:
        names = enumerate(names_in_cells(self._opened.path, image), 1)
        return [name or f"{self._opened.file}:{row}" for row, name in names]

    def _rows(self, batch: Batch) -> list[Row | Unreadable]:
        file, path, taken = self._opened.file, self._opened.path, self._opened.taken
        faults: dict[int, str] = {}
        labels = [NOT_KNOWN] * len(batch.numbers)
        if taken:
            labels = self._labels_of(batch.columns[: len(taken)], faults)
        ids = ids_of(batch.columns[len(taken)], faults)
        about = self._about_of(batch.columns[len(taken) + 1 :], faults)
        if self._empty_is_unknown:
            labels = [
                NOT_KNOWN if said is EMPTY and subset == "test" else said
                for said, subset in zip(labels, about.subset, strict=False)
            ]
        for place in faults:
            labels[place] = NOT_KNOWN
        photos: Sequence[Any]
        if self._image:
            photos = [PhotoInCell(path, self._image, number - 1) for number in batch.numbers]
        else:
            photos = self._folders.paths(ids)
        names, unknown = zip(*labels, strict=True) if labels else ((), ())
        of_photo = (repeat(file), batch.numbers, ids, photos, about.subset, names, about.caption)
        of_split = (repeat(0), unknown, about.group, about.time, about.part)
        rows: list[Row | Unreadable] = list(map(as_row, zip(*of_photo, *of_split, strict=False)))
        for place, reason in faults.items():
            rows[place] = Unreadable(file, batch.numbers[place], reason)
        if batch.faults:
            rows += [Unreadable(file, number, reason) for number, reason in batch.faults]
            rows.sort(key=lambda row: row.row)
        return rows

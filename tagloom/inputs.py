"""What was named on the command line, photo by photo: files, folders and CSVs.

Photos come in the order in which they were named, those of a folder by their names, those of a
CSV in its rows' order; one that was named twice comes twice. Nothing is held in memory but the
names of the folder that is being read.
"""

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from stages import UserError, csv_tables
from stages.csv_tables import Record
from stages.image_formats import suffixes
from stages.ingest.naming import clean
from stages.ingest.records import separator

# Columns by their names in lower case.
PHOTO = ("photo", "imageid", "image", "file", "filename", "path")
CAPTION = ("caption",)
LABELS = ("labels",)
UNKNOWN = ("unknown",)


class Asked(NamedTuple):
    """A photo to answer.

    Attributes:
        name: as the user named it; bytes that are not text are escaped.
        path: of its file.
        caption: None: it has none.
        labels: what the CSV says under Labels; None: nothing.
        unknown: what it says under Unknown: the labels of which it is not known whether the photo
            carries them.
    """

    name: str
    path: Path
    caption: str | None = None
    labels: str | None = None
    unknown: str | None = None


class Unreadable(NamedTuple):
    """A file or a row that gives no photo, and why."""

    name: str
    reason: str


def asked(places: Sequence[Path], below: Path | None = None) -> Iterator[Asked | Unreadable]:
    """The photos of files, folders and CSVs.

    Args:
        places: a folder is searched with all below it, but not links to folders, which may lead
            round in a circle; hidden files and those that are no photos by their suffix are
            passed over. Any other file is a photo, unless it ends in .csv.
        below: the folder that paths in CSVs start from; None: the CSV's own.

    Raises:
        UserError: a CSV cannot be read, or has no column of photos.
    """
    for place in places:
        if place.is_dir():
            yield from _of_folder(place)
        elif place.suffix.lower() == ".csv":
            yield from _of_csv(place, below or place.parent)
        else:
            yield Asked(shown(place), place)


def count(places: Sequence[Path], below: Path | None = None) -> int:
    """How many items ``asked`` yields: photos, and what gives none.

    Raises:
        UserError: none at all; or as ``asked`` does.
    """
    if total := sum(1 for _ in asked(places, below)):
        return total
    named = ", ".join(map(shown, places))
    raise UserError(
        f"there is no photo in {named[:200]}; photos are files that end in .jpg, .png and so on"
    )


def captioned(
    photos: Iterable[Asked | Unreadable], captions: "Captions | None", needed: bool
) -> Iterator[Asked | Unreadable]:
    """The photos, with a caption from ``captions`` where it has one.

    Args:
        needed: the model reads nothing else; a photo without a caption becomes ``Unreadable``.
    """
    for photo in photos:
        if isinstance(photo, Unreadable):
            yield photo
            continue
        caption = (captions.of(photo.path) if captions else None) or photo.caption or None
        if needed and caption is None:
            yield Unreadable(photo.name, "it has no caption, and the model reads nothing else")
        else:
            yield photo._replace(caption=caption)


def label_list(cell: str | None, names: Collection[str]) -> list[str] | None:
    """The labels of a cell, separated as in data/predictions.csv; None where there is no cell.

    They are as labels are written, but for those that ``names`` has as they are.

    Args:
        names: the labels that there may be; if one holds a blank, | separates them.
    """
    if cell is None:
        return None
    between = separator(names).strip()  # none: any blank separates
    labels = filter(None, map(str.strip, cell.split(between or None)))
    return [label if label in names else clean(label) for label in labels]


def shown(path: Path | str) -> str:
    """A path as text that can be written anywhere."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _of_folder(folder: Path) -> Iterator[Asked | Unreadable]:
    try:
        with os.scandir(folder) as entries:
            names = sorted((e.name, e.is_dir(follow_symlinks=False)) for e in entries)
    except OSError as error:
        yield Unreadable(shown(folder), f"cannot be read: {error.strerror}")
        return
    names = [(name, is_folder) for name, is_folder in names if not name.startswith(".")]
    for name, is_folder in names:
        if not is_folder and os.path.splitext(name)[1].lower() in suffixes():
            yield Asked(shown(folder / name), folder / name)
    for name, is_folder in names:
        if is_folder:
            yield from _of_folder(folder / name)


def _of_csv(path: Path, below: Path) -> Iterator[Asked | Unreadable]:
    header, records = read_csv(path)
    photo, *others = (_column(header, names) for names in (PHOTO, CAPTION, LABELS, UNKNOWN))
    if photo is None:
        raise UserError(
            f"{path} has no column of photos, called photo or ImageID; it has "
            f"{', '.join(header)[:200] or 'none at all'}"
        )
    for line, fields in records:
        if isinstance(fields, str):
            yield Unreadable(f"{shown(path)}, row {line}", fields)
        elif not fields[photo].strip():
            yield Unreadable(f"{shown(path)}, row {line}", "it names no photo")
        else:
            cells = (None if place is None else fields[place] for place in others)
            yield Asked(fields[photo], below / fields[photo], *cells)


def _column(header: Sequence[str], names: Sequence[str]) -> int | None:
    return next((n for n, name in enumerate(header) if name.strip().lower() in names), None)


def read_csv(path: Path) -> tuple[list[str], Iterator[Record]]:
    """The header and the records of a CSV, as the stage ingest reads them.

    Raises:
        UserError: it cannot be read, or is not UTF-8.
    """
    try:
        return csv_tables.read(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: byte {error.start} is wrong") from error


class Captions:
    """A CSV of photos and captions beside the photos.

    A photo is found by its path, from the folder of the CSV, or, where the CSV gives no folder, by
    its file's name. The captions are held in memory.

    Attributes:
        used: whether any photo was found.

    Raises:
        UserError: the CSV cannot be read, lacks a column, or has two captions for a photo.
    """

    def __init__(self, path: Path) -> None:
        self.used = False
        self._captions: dict[str, str] = {}
        header, records = read_csv(path)
        photo, caption = _column(header, PHOTO), _column(header, CAPTION)
        if photo is None or caption is None:
            raise UserError(
                f"{path} must have the columns photo and caption; it has "
                f"{', '.join(header)[:200] or 'none at all'}"
            )
        for line, fields in records:
            if isinstance(fields, str):
                raise UserError(f"{path}, row {line}: {fields}")
            name, text = fields[photo], fields[caption]
            key = name if name == os.path.basename(name) else os.path.abspath(path.parent / name)
            if self._captions.setdefault(key, text) != text:
                raise UserError(f"{path}, row {line}: a second, other caption for {name}")

    def of(self, photo: Path) -> str | None:
        """The caption of the photo in a file; None where there is none."""
        for key in (os.path.abspath(photo), photo.name):
            if key in self._captions:
                self.used = True
                return self._captions[key] or None
        return None

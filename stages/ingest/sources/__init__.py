"""Where rows come from: one module a source, chosen by ``ingest.source``.

A source is a module with two names; adding one is adding its file here:

- ``Options``: a pydantic model (of ``stages.params.Section``) of the section of its name below
  ``ingest`` in ``params.yaml``;
- ``rows(root, options)``: yields a ``Row`` a photo, in a fixed order, and ``Unreadable`` for what
  it cannot read as one. It opens no photo.

It may have more:

- ``MAKES_PHOTOS``: true where it makes them itself, so that no delivery can hold any;
- ``MAY_LACK``: the options that name files or folders which a delivery need not have;
- ``columns(root, options)``: the ``Columns`` of a table, of which some are labels and some are not.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from glob import glob
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from stages import UserError
from stages.ingest.addresses import is_address
from stages.ingest.params import Ingest
from stages.params import Section, check


class Row(NamedTuple):
    """A photo as its source describes it.

    Attributes:
        file: the file that lists it, below the root.
        row: its line there (its row, where the file has no lines), from 1.
        id: the source's name for the photo.
        photo: path of its file below the root, its address, or a function that makes the file's
            bytes.
        subset: ``train`` or ``test``.
        labels: None where they are not known; an empty list where there are none.
        delivery: 0 where the root itself lists it, else the number of the delivery that does.
        unknown: further labels, of which it is not known whether the photo has them. All others
            are known not to be there, unless ``labels`` is None.
        group: what the photo has in common with others that are much alike, as a patient.
        time: when it was taken; without a time zone, UTC.
        part: ``train`` or ``validation``, where the source has parted its photos for training;
            None for a photo of ``test``.
    """

    file: str
    row: int
    id: str
    photo: str | Callable[[], bytes]
    subset: str
    labels: list[str] | None
    caption: str | None
    delivery: int = 0
    unknown: Sequence[str] = ()
    group: str | None = None
    time: datetime | None = None
    part: str | None = None


class Unreadable(NamedTuple):
    """A row that says too little to be a photo's, or what a photo's labels cannot be told from.

    Attributes:
        file: the file that it stands in, below the root.
        row: its line there (its row, where the file has no lines), from 1.
        reason: the same words for the same fault, so that it can be counted.
        photo: path of the photo's file below the root, where it is known.
        costs_photo: whether a photo is lost with it; ``ingest.max_rejected`` bounds those.
    """

    file: str
    row: int
    reason: str
    photo: str = ""
    costs_photo: bool = True


class Columns(NamedTuple):
    """The columns of a table, but for those that say something else of a photo.

    Attributes:
        labels: those that say which labels it has.
        unused: those from which nothing is read.
    """

    labels: list[str]
    unused: list[str]


def columns(params: Ingest) -> Columns | None:
    """The columns of the source that ``params`` choose; None where it has none to choose from.

    Raises:
        UserError: as ``rows`` does.
    """
    source, options = chosen(params)
    return source.columns(Path(params.root), options) if hasattr(source, "columns") else None


def rows(params: Ingest) -> Iterator[Row | Unreadable]:
    """The rows of the source that ``params`` choose: those of the root, then of each delivery.

    Raises:
        UserError: an option is wrong, a file that the source needs is missing or of another kind,
            or a delivery lists nothing.
    """
    return _of_root_and_deliveries(*chosen(params), Path(params.root), params.deliveries)


def chosen(params: Ingest) -> tuple[ModuleType, Section]:
    """The source that ``params`` choose, and its options.

    Raises:
        UserError: an option is wrong.
    """
    source = import_module(f"{__name__}.{params.source.replace('-', '_')}")
    return source, check(source.Options, params.source_options, f"ingest.{params.source}")


def _of_root_and_deliveries(
    source: ModuleType, options: Section, root: Path, name: str | None
) -> Iterator[Row | Unreadable]:
    yield from source.rows(root, options)
    for number, folder in enumerate(deliveries(root, name), 1):
        if getattr(source, "MAKES_PHOTOS", False):
            raise UserError(
                f"{folder} holds photos, but ingest.source makes its own; set ingest.deliveries to "
                "null"
            )
        listed = list(source.rows(root / folder, _present(source, options, root / folder)))
        if not listed:
            raise UserError(f"the delivery {root / folder} lists no photo; complete it, or hide it")
        yield from (_delivered(row, folder, number) for row in listed)


def deliveries(root: Path, name: str | None) -> list[str]:
    """The folders in ``root/name``, as paths below the root, by name, without hidden ones.

    One that is being copied there should have a name that begins with a dot until it is whole.
    """
    if name is None or not below(root, name).is_dir():
        return []
    folders = sorted((root / name).iterdir())
    return [f"{name}/{each.name}" for each in folders if each.is_dir() and each.name[0] != "."]


def _present(source: ModuleType, options: Section, folder: Path) -> Section:
    """``options`` without those files that a delivery may lack, and this one does."""
    named = {name: getattr(options, name) for name in getattr(source, "MAY_LACK", ())}
    absent = {name: None for name, given in named.items() if given and not _are_any(folder, given)}
    return options.model_copy(update=absent)


def _are_any(folder: Path, given: str | list[str]) -> bool:
    """Whether one of the files, or patterns of them, is there."""
    patterns = [given] if isinstance(given, str) else given
    return any((folder / each).exists() or glob(each, root_dir=folder) for each in patterns)


def _delivered(row: Row | Unreadable, folder: str, number: int) -> Row | Unreadable:
    if isinstance(row, Unreadable):
        photo = row.photo and joined(folder, row.photo)
        return row._replace(file=f"{folder}/{row.file}", photo=photo)
    delivered = row._replace(file=f"{folder}/{row.file}", delivery=number)
    if not callable(row.photo):
        return delivered._replace(photo=joined(folder, row.photo))
    # A photo in Parquet that has no name is named after the file, as others before may be.
    is_nameless = row.id == f"{row.file}:{row.row}"
    return delivered._replace(id=f"{folder}/{row.id}") if is_nameless else delivered


def below(root: Path, name: str) -> Path:
    """``root/name``. DVC watches the root: of what lies elsewhere it would see no change.

    Raises:
        UserError: it leaves the root.
    """
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise UserError(f"{name} is not below ingest.root ({root}); put it there")
    return root / name


def joined(folder: str, name: str) -> str:
    """``folder/name``; ``name`` alone where it is an address."""
    return name if is_address(name) else f"{folder.rstrip('/')}/{name}"


def plain_path(path: str) -> str:
    """``path`` without what leads nowhere: ``./a//1.jpg`` is ``a/1.jpg``."""
    if not any(odd in path for odd in ("//", "./", "/.")) and path[:1] not in ".":
        return path.strip("/")  # nearly always; nothing to put together anew
    return "/".join(part for part in path.split("/") if part not in ("", "."))


def read_text(root: Path, name: str) -> str:
    """The text of ``root/name``, UTF-8 with or without a byte order mark, line ends as they are.

    Raises:
        UserError: it is missing, not UTF-8 or not below the root.
    """
    try:
        return below(root, name).read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise UserError(f"{root / name} does not exist (ingest.root is {root})") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{root / name} is not UTF-8 text: byte {error.start} is wrong") from error


class Level(NamedTuple):
    """A folder, as a path below the root; its files and its links to folders, by name."""

    folder: str
    files: list[str]
    links: list[str]


def levels(root: Path, folder: str) -> Iterator[Level]:
    """``root/folder`` and the folders below it, without hidden ones; links are not followed."""
    for place, folders, files in os.walk(below(root, folder)):
        folders[:] = sorted(name for name in folders if name[0] != ".")
        yield Level(
            Path(place).relative_to(root).as_posix(),
            sorted(name for name in files if name[0] != "."),
            [name for name in folders if os.path.islink(os.path.join(place, name))],
        )


def link_not_followed(level: Level, name: str) -> Unreadable:
    """What is said of a link to a folder, whose photos are not read."""
    link = f"{level.folder}/{name}"
    return Unreadable(link, 1, "a link to a folder, which is not followed", costs_photo=False)


def photo_files(root: Path, folder: str) -> list[str]:
    """Names of the files in ``root/folder``, without hidden ones, in the order of their names.

    Raises:
        UserError: there is no such folder below the root.
    """
    if not below(root, folder).is_dir():
        raise UserError(f"{root / folder} is no folder (ingest.root is {root})")
    return sorted(file.name for file in (root / folder).iterdir() if file.name[0] != ".")

"""Where the photo of an id lies: in one of several folders, or in a cell of Parquet."""

import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import polars as pl

from stages import UserError
from stages.ingest.addresses import is_address
from stages.ingest.images import UnreadablePhoto
from stages.ingest.sources import below, joined

WINDOW = 128  # rows whose photos are in memory at once


class Folders:
    """The files of photos below ``root``.

    Args:
        folders: paths or patterns of them (``images_*``), looked through in this order, or
            an address, as of a bucket, at which nobody looks.
        pattern: the name of an id's photo; holds ``{id}``, or ``{stem}``, which is the id without
            its extension.

    Raises:
        UserError: no folder fits.
    """

    def __init__(self, root: Path, folders: Sequence[str], pattern: str) -> None:
        self._root, self._pattern = root, pattern
        self._folders = [each for folder in folders for each in matching(root, folder)]
        self._looks = len(self._folders) > 1 or pattern != "{id}"
        self._names: dict[str, frozenset[str]] = {}  # of the files in a folder

    def paths(self, ids: Sequence[str]) -> list[str]:
        """The paths of the photos of ``ids`` below the root, or their addresses.

        Where there is no such file, the path is the one that it should have.

        Extensions may be written in capitals or not. With one folder and ids that are names of
        files, nobody looks.
        """
        if self._looks:
            return [self._find(id) for id in ids]
        folder = self._folders[0]
        return [joined(folder, id) for id in ids]

    def _find(self, id: str) -> str:
        name = self._pattern.replace("{id}", id).replace("{stem}", os.path.splitext(id)[0])
        if is_address(name):
            return name
        stem, extension = os.path.splitext(name)
        for ending in dict.fromkeys((extension, extension.lower(), extension.upper())):
            for folder in self._folders:
                place, _, file = f"{folder}/{stem}{ending}".rpartition("/")
                if file in self._files(place):
                    return f"{place}/{file}"
        return joined(self._folders[0], name)

    def _files(self, folder: str) -> frozenset[str]:
        if folder not in self._names:
            try:
                # One look a folder: asking for each photo takes many times as long.
                self._names[folder] = frozenset(os.listdir(self._root / folder))
            except (OSError, ValueError):
                self._names[folder] = frozenset()
        return self._names[folder]


def matching(root: Path, pattern: str) -> list[str]:
    """What fits ``pattern`` below ``root``, in the order of the names; the pattern if it is none.

    Raises:
        UserError: nothing does, or it leaves the root.
    """
    below(root, pattern)
    if is_address(pattern) or not any(sign in pattern for sign in "*?["):
        return [pattern]
    found = sorted(path.relative_to(root).as_posix() for path in root.glob(pattern))
    if not found:
        raise UserError(f"nothing in {root} fits {pattern}")
    return found


class PhotoInCell:
    """Makes the bytes of the photo in a row of a Parquet file.

    Args:
        column: of bytes, or of structs with a field ``bytes``.
        row: from 0.
    """

    in_threads = True  # see ``stages/ingest/photos.py``

    def __init__(self, path: Path, column: str, row: int) -> None:
        self._path, self._column, self._row = path, column, row

    def __call__(self) -> bytes:
        content = _photos(self._path, self._column, self._row // WINDOW)[self._row % WINDOW]
        if not isinstance(content, bytes):
            raise UnreadablePhoto(f"row {self._row + 1} of {self._path} holds no photo")
        return content


@lru_cache(maxsize=2)  # photos are asked for in order, by a thread a core
def _photos(path: Path, column: str, window: int) -> list[Any]:
    cells = pl.scan_parquet(path).select(pl.col(column)).slice(window * WINDOW, WINDOW)
    photos = cells.collect().to_series()
    return (photos.struct.field("bytes") if photos.dtype == pl.Struct else photos).to_list()


def names_in_cells(path: Path, column: str) -> list[str | None]:
    """The names of files that the cells of a ``column`` of photos give beside the bytes."""
    cells = pl.scan_parquet(path).select(pl.col(column))
    if "path" not in _fields(cells.collect_schema()[column]):
        return [None] * int(cells.select(pl.len()).collect().item())
    names = cells.select(pl.col(column).struct.field("path"))
    return names.collect(engine="streaming").to_series().to_list()


def _fields(type: pl.DataType | None) -> dict[str, Any]:
    return {field.name: field.dtype for field in getattr(type, "fields", [])}


def check_photos(path: Path, column: str, type: pl.DataType | None) -> None:
    """Checks that cells of this ``type``, None for no Parquet, can hold photos.

    Raises:
        UserError: they cannot.
    """
    if pl.Binary not in (type, _fields(type).get("bytes")):
        raise UserError(
            f"{path}: column {column} holds {type or 'text'}; ingest.table.image is a column of "
            "Parquet: of bytes or, as in Hugging Face's data sets, structs of bytes and path"
        )

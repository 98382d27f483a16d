"""Opens and decodes the photos of many rows at once; those known from their notes stay closed."""

import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from configparser import ConfigParser
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from stages.files import project_root
from stages.ingest import decoder, packed
from stages.ingest.addresses import file_of, is_address
from stages.ingest.confinement import clock_deadline, reason
from stages.ingest.decode_cache import DecodeCache, FileState, Seen
from stages.ingest.decoder import Photo
from stages.ingest.decoder_processes import Decoders
from stages.ingest.form import Form
from stages.ingest.images import Known, UnreadablePhoto
from stages.ingest.workers import CAN_FORK, in_processes, in_threads

UNSETTLED = 2 * 10**9  # nanoseconds: the coarsest time stamps there are, FAT's


class MissingPhoto(UnreadablePhoto):
    """There is no file where the photo should be."""


class Opened(NamedTuple):
    """A photo ready for the image store.

    Attributes:
        image: its pixels, good until the next photo is asked for, or where they are already; None:
            they are on another way than all the rest.
        misfit: how it goes with the range that it was scaled from, a ``Misfit``.
        file: the state its file was in; None where there is no file, or it cannot be relied on.
    """

    image: np.ndarray | Known | None
    sha256: str
    width: int
    height: int
    dhash: int | None
    misfit: int
    file: FileState | None


# A path below the root, an address, or what makes the file's bytes.
PhotoSource = str | Callable[[], bytes]
Outcome = tuple[np.ndarray | None, Opened | UnreadablePhoto]  # pixels apart from all the rest


def cache_of_dvc() -> Path:
    """Where DVC keeps what it tracks, by the project's settings (``dvc cache dir``)."""
    folder = project_root() / ".dvc"
    settings = ConfigParser(interpolation=None, strict=False)
    settings.read([folder / "config", folder / "config.local"], "utf-8")
    return folder / settings.get("cache", "dir", fallback="cache").strip("\"'")


class Files:
    """The photos' files below ``root``, those fetched from addresses, and those in archives.

    They must lie in the root, in one of the ``others`` or in DVC's cache, where photos tracked by
    DVC may be linked to, when links are followed.
    """

    def __init__(self, root: Path, *others: Path) -> None:
        self._root = root
        self._allowed = [each.resolve() for each in (root, *others, cache_of_dvc())]
        self._packed = packed.Packed()
        self._settled = time.time_ns() - UNSETTLED
        self._folders: dict[str, tuple[str, bool]] = {}  # where each leads to; may a file be there

    def read(self, photo: str) -> tuple[bytes, FileState | None]:
        """The bytes of ``root/photo`` and the state of the file before they were read."""
        try:
            place, state = self.find(photo)
            if isinstance(place, packed.Photo):
                return packed.read(place), state
            return Path(place).read_bytes(), state
        except FileNotFoundError as error:
            raise MissingPhoto("the file is missing") from error
        except MemoryError as error:
            raise UnreadablePhoto("reading it needs more memory than there is") from error
        except OSError as error:
            raise UnreadablePhoto(f"cannot be read: {error.strerror}") from error
        except (ValueError, RuntimeError) as error:  # a NUL in it, a link that points to itself
            raise UnreadablePhoto(f"its path is not one: {error}") from error

    def find(self, photo: str) -> tuple[str | packed.Photo, FileState | None]:
        """The path of ``root/photo`` and the state of its file, links followed.

        An address has the file that was fetched from it. Of a photo in an archive it is the place
        there, and the archive's state.

        The state is None where the file changed a moment ago: it may change again and keep its
        time stamps, which tick more coarsely than files are written.
        """
        if is_address(photo):
            path = str(file_of(photo))
            return path, self._state(os.lstat(path))
        if os.altsep:  # Windows
            photo = photo.replace(os.sep, os.altsep)
        cut = photo.rfind("/") + 1
        folder, name = photo[:cut], photo[cut:]
        if folder not in self._folders:
            self._folders[folder] = self._resolve(folder)
        place, is_allowed = self._folders[folder]
        path = f"{place}/{name}"
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            if "\\" not in photo:
                raise
            return self.find(photo.replace("\\", "/"))  # as Windows writes paths
        if name == "..":
            raise UnreadablePhoto("its path leaves ingest.root")
        if stat.S_ISLNK(status.st_mode) or not is_allowed:
            path = os.path.realpath(path, strict=True)
            if not self._is_allowed(path):
                raise UnreadablePhoto("it is a link that leaves ingest.root and DVC's cache")
            status = os.stat(path)
        if in_archive := self._packed.find(path):
            status = os.stat(in_archive.archive)
            if packed.version_of(status) != in_archive.version:
                raise UnreadablePhoto("its archive has changed since ingest began; run it again")
        return in_archive or path, self._state(status)

    def _state(self, status: os.stat_result) -> FileState | None:
        if not stat.S_ISREG(status.st_mode):  # a folder, or a pipe that would never end
            raise UnreadablePhoto("it is not a file")
        if max(status.st_mtime_ns, status.st_ctime_ns) > self._settled:
            return None
        return packed.state_of(status)

    def _resolve(self, folder: str) -> tuple[str, bool]:
        if Path(folder).is_absolute() or ".." in Path(folder).parts:
            raise UnreadablePhoto("its path leaves ingest.root")
        place = (self._root / folder).resolve(strict=True)
        return str(place), self._is_allowed(place)

    def _is_allowed(self, path: Path | str) -> bool:
        return any(Path(path).is_relative_to(place) for place in self._allowed)


def open_all(
    photos: Sequence[PhotoSource],
    files: Files,
    form: Form,
    cache: DecodeCache,
    on_node: bool = False,
) -> Iterator[Opened | UnreadablePhoto]:
    """Yields each photo in ``form``, or why there is none, in order.

    All cores decode what ``cache`` does not know.

    Args:
        on_node: beside others, one for each core of a node of a cluster: on one core.

    Raises:
        UserError: a process at work was killed.
    """
    known = unchanged(photos, files, cache)
    rest = [photo for photo, one in zip(photos, known, strict=True) if one is None]
    opened = map(_whole, _opened(rest, files, form, cache, on_node))
    for one in known:
        yield one or next(opened)


def unchanged(
    photos: Sequence[PhotoSource], files: Files, cache: DecodeCache
) -> list[Opened | None]:
    """The photos whose files are in the state that was noted, without a look into these."""
    paths = pl.Series([None if callable(photo) else photo for photo in photos], dtype=pl.String)
    notes = cache.by_file(paths).iter_rows()
    return [_unchanged(*each, files, cache) for each in zip(photos, notes, strict=True)]


def _unchanged(
    photo: PhotoSource, note: tuple[int | None, ...], files: Files, cache: DecodeCache
) -> Opened | None:
    place, *noted = note
    if callable(photo) or place is None:
        return None
    try:
        _, state = files.find(photo)
    except (OSError, ValueError, RuntimeError, UnreadablePhoto):
        return None  # to be opened, and to fail, like any other
    return _known(cache.seen(place), state) if state == tuple(noted) else None


def _known(seen: Seen, file: FileState | None) -> Opened:
    sha256, width, height, dhash, misfit, rows = seen
    return Opened(Known(rows), sha256, width, height, dhash, misfit, file)


def _opener(
    files: Files, form: Form, cache: DecodeCache, decode: Callable[[bytes, Form], Photo]
) -> Callable[[PhotoSource], Outcome]:
    def open_one(source: PhotoSource) -> Outcome:
        try:
            content, file = (source(), None) if callable(source) else files.read(source)
            sha256 = hashlib.sha256(content).hexdigest()
            if seen := cache.by_sha256(sha256):
                return None, _known(seen, file)
            pixels, width, height, dhash, misfit = decode(content, form)
            return pixels, Opened(None, sha256, width, height, dhash, misfit, file)
        except UnreadablePhoto as error:
            return None, error

    return open_one


def _opened(
    photos: Sequence[PhotoSource],
    files: Files,
    form: Form,
    cache: DecodeCache,
    on_node: bool,
) -> Iterator[Outcome]:
    """Opens photos in processes, which end where a photo takes too long or breaks its decoder."""
    processes = 1 if on_node else None
    # Photos in tables' cells are read by Polars, which a copy of this process would wait for.
    if not CAN_FORK or any(getattr(photo, "in_threads", False) for photo in photos):
        with Decoders(on_node=on_node) as decoders:
            yield from in_threads(_opener(files, form, cache, decoders.decode), photos, processes)
        return
    if on_node:
        decoder.BUDGET.share_with_node()
    open_one = _opener(files, form, cache, _decode)
    shape, most = (form.size, form.size, 3), decoder.BUDGET.most
    yield from in_processes(open_one, photos, shape, _fatal, most, processes=processes)


def _decode(content: bytes, form: Form) -> Photo:
    with clock_deadline():
        return decoder.decode(content, *form)


def _fatal(ended_by: int) -> UnreadablePhoto:
    return UnreadablePhoto(reason(ended_by))


def _whole(outcome: Outcome) -> Opened | UnreadablePhoto:
    pixels, photo = outcome
    if pixels is not None and isinstance(photo, Opened):
        return photo._replace(image=pixels)
    return photo

"""Opens and decodes the photos of many rows at once."""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from stages.files import project_root
from stages.ingest.earlier import Earlier
from stages.ingest.images import Known, UnreadablePhoto, decode
from stages.ingest.sources import Row

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Opened:
    """A photo ready for the image store: ``image`` is its pixels or where they stand already."""

    image: np.ndarray | Known
    sha256: str
    width: int
    height: int
    dhash: int | None


def open_all(
    rows: Iterable[Row], root: Path, size: int, earlier: Earlier
) -> Iterator[Opened | UnreadablePhoto]:
    """Yields what became of each row's photo, in order, working on all cores."""
    allowed = [root.resolve(), (project_root() / ".dvc" / "cache").resolve()]

    def open_one(row: Row) -> Opened | UnreadablePhoto:
        try:
            content = row.photo() if callable(row.photo) else _read(root, row.photo, allowed)
            sha256 = hashlib.sha256(content).hexdigest()
            if seen := earlier.by_sha256.get(sha256):
                return Opened(Known(seen.rows), sha256, seen.width, seen.height, seen.dhash)
            photo = decode(content, size)
            return Opened(photo.pixels, sha256, photo.width, photo.height, photo.dhash)
        except UnreadablePhoto as error:
            return error

    # Threads: Pillow decodes and resizes, and hashlib hashes, without holding Python's lock.
    yield from _ordered_map(open_one, rows, _cores())


def _read(root: Path, photo: str, allowed: list[Path]) -> bytes:
    """The bytes of ``root/photo``, which must lie in one of ``allowed`` when links are followed.

    The allowed places are the root and DVC's cache, where photos tracked by DVC may be linked to.
    """
    if Path(photo).is_absolute() or ".." in Path(photo).parts:
        raise UnreadablePhoto("its path leaves ingest.root")
    try:
        path = (root / photo).resolve(strict=True)
        if not any(path.is_relative_to(place) for place in allowed):
            raise UnreadablePhoto("it is a link that leaves ingest.root")
        if not path.is_file():  # a folder, or a pipe that would never end
            raise UnreadablePhoto("it is not a file")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise UnreadablePhoto("the file is missing") from error
    except OSError as error:
        raise UnreadablePhoto(f"cannot be read: {error.strerror}") from error
    except (ValueError, RuntimeError) as error:  # a NUL in the name, a link that points to itself
        raise UnreadablePhoto(f"its path is not one: {error}") from error


def _cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _ordered_map(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Iterator[Result]:
    """``map`` on threads that runs only a little ahead, so that memory stays flat."""
    with ThreadPoolExecutor(workers) as pool:
        ahead: deque = deque()
        for item in items:
            ahead.append(pool.submit(function, item))
            if len(ahead) > 16 * workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()

"""What lies below a folder: photos and other files, by their names, from one walk."""

import os
import tarfile
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from stages.image_formats import suffixes
from stages.ingest.archives import BROKEN, LEFT_BY_MACOS, TAR, ZIP


class Index:
    """Files below ``root``, their paths below it. Hidden ones are none; links are followed.

    Attributes:
        photos: those with the suffix of a photo, also in an archive, which is as a folder of its
            name.
        others: all other files, but for archives and those that cannot be read.
        unreadable: the latter.
        has_archives: whether there are any, of which no tables or files of annotations are seen.
        by_name, by_stem: the paths of photos, by their names and by these without suffix.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.photos: set[str] = set()
        self.others: list[str] = []
        self.unreadable: list[str] = []
        self.has_archives = False
        self.by_name: dict[str, list[str]] = defaultdict(list)
        self.by_stem: dict[str, list[str]] = defaultdict(list)
        for path in _files(root):
            if os.path.splitext(path)[1].lower() in suffixes():
                self._add([path])
            elif not (root / path).is_file():  # a pipe, which nobody could read to its end
                continue
            elif not os.access(root / path, os.R_OK):
                self.unreadable.append(path)
            elif path.lower().endswith((*ZIP, *TAR)):
                self.has_archives = True
                self._add(f"{path}/{each}" for each in _packed(root / path))
            else:
                self.others.append(path)
        self.others.sort()

    def _add(self, photos: Iterable[str]) -> None:
        for path in photos:
            name = path.rpartition("/")[2]
            self.photos.add(path)
            self.by_name[name].append(path)
            self.by_stem[os.path.splitext(name)[0]].append(path)

    def with_suffix(self, *wanted: str) -> list[str]:
        """The other files whose names end so, whatever their case."""
        return [path for path in self.others if path.lower().endswith(wanted)]

    def lines(self, path: str) -> list[str]:
        """Those of a text file that hold something, without blanks around it."""
        text = (self.root / path).read_text("utf-8", "replace")
        return [line for line in map(str.strip, text.splitlines()) if line]

    def folders(self) -> dict[str, int]:
        """The folders that photos lie in, without what is between, and how many do."""
        count: dict[str, int] = defaultdict(int)
        for path in sorted(self.photos):
            count[folder_of(path)] += 1
        return count


def folder_of(path: str) -> str:
    """The folder of ``path`` as the options of sources name it: ``.`` for the root."""
    return path.rpartition("/")[0] or "."


def in_folder(folder: str, name: str) -> str:
    """The path of ``name`` in ``folder``, as an ``Index`` has it."""
    return name if folder == "." else f"{folder}/{name}"


def _files(root: Path) -> Iterator[str]:
    # So that no link leads in a circle, or out of the folder to one that holds it.
    top = Path(os.path.realpath(root))
    seen = set(map(str, top.parents))
    for place, folders, files in os.walk(root, followlinks=True):
        seen.add(os.path.realpath(place))
        folders[:] = sorted(
            name
            for name in folders
            if name[0] != "." and os.path.realpath(os.path.join(place, name)) not in seen
        )
        below = Path(place).relative_to(root).as_posix()
        yield from (in_folder(below, name) for name in files if name[0] != ".")


def _packed(archive: Path) -> Iterator[str]:
    """The photos in ``archive``; those before the place from which on it cannot be read."""
    with suppress(OSError, *BROKEN):
        for name in _members(archive):
            is_photo = os.path.splitext(name)[1].lower() in suffixes()
            if is_photo and not name.startswith(LEFT_BY_MACOS):
                yield name


def _members(archive: Path) -> Iterator[str]:
    if archive.name.lower().endswith(ZIP):
        with zipfile.ZipFile(archive) as packed:
            yield from packed.namelist()
    else:  # to its end, for it has no list
        with tarfile.open(archive) as tape:
            yield from (member.name.removeprefix("./") for member in tape if member.isfile())

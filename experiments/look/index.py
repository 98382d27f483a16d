"""What lies below a folder: photos and other files, by their names, from one walk."""

import os
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from stages.image_formats import suffixes
from stages.ingest.archives import LEFT_BY_MACOS, TAR, ZIP


class Index:
    """Files below ``root``, their paths below it. Hidden ones are none; links are followed.

    Attributes:
        photos: those with the suffix of a photo, also in a zip, which is as a folder of its name.
        others: all other files, but for zips.
        by_name, by_stem: the paths of photos, by their names and by these without suffix.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.photos: set[str] = set()
        self.others: list[str] = []
        self.by_name: dict[str, list[str]] = defaultdict(list)
        self.by_stem: dict[str, list[str]] = defaultdict(list)
        for path in _files(root):
            name = path.rpartition("/")[2]
            if name.lower().endswith(ZIP):
                self._add(f"{path}/{each}" for each in _in_zip(root / path))
            elif os.path.splitext(name)[1].lower() in suffixes():
                self._add([path])
            elif (root / path).is_file():  # and no pipe, which nobody could read to its end
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

    @property
    def has_archives(self) -> bool:
        """Whether there are any, of which no tables or files of annotations are seen."""
        return any(f"{suffix}/" in path for path in self.photos for suffix in ZIP) or bool(
            self.with_suffix(*TAR)
        )

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
    seen: set[str] = set()  # so that no link leads in a circle
    for place, folders, files in os.walk(root, followlinks=True):
        seen.add(os.path.realpath(place))
        folders[:] = sorted(
            name
            for name in folders
            if name[0] != "." and os.path.realpath(os.path.join(place, name)) not in seen
        )
        below = Path(place).relative_to(root).as_posix()
        yield from (in_folder(below, name) for name in files if name[0] != ".")


def _in_zip(archive: Path) -> Iterator[str]:
    """The photos in ``archive``; none where it cannot be read."""
    with suppress(OSError, zipfile.BadZipFile), zipfile.ZipFile(archive) as packed:
        for name in packed.namelist():
            is_photo = os.path.splitext(name)[1].lower() in suffixes()
            if is_photo and not name.startswith(LEFT_BY_MACOS):
                yield name

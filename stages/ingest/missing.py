"""What would fit where a photo's file is missing: of what is there, what its row may have meant."""

import os
import re
import unicodedata
from collections.abc import Mapping
from itertools import islice
from pathlib import Path

from stages.image_formats import suffixes
from stages.ingest import sources
from stages.ingest.params import Ingest

FILES = 200_000  # of a folder that are looked at, at most
FOLDERS = 1000  # below the root, likewise
SEARCHES = 20  # through all folders that find nothing; then no other photo is sought so
ADDRESS = re.compile(r"(^|/)(https?|s3|gs|ftp):/", re.IGNORECASE)


class Hints:
    """Looks for files that are missing, and lists each folder once.

    Args:
        unfetched: why photos at addresses could not be fetched, by these.
    """

    def __init__(self, params: Ingest, unfetched: Mapping[str, str]) -> None:
        self._unfetched = unfetched
        self._root = Path(params.root)
        self._source = params.source
        self._options = sources.chosen(params)[1].model_dump()
        self._files: dict[str, dict[str, str]] = {}  # by folder: names by what they have in common
        self._folders: list[str] | None = None  # those where photos were found come first
        self._searches = SEARCHES

    def reason(self, photo: str, id: str) -> str:
        """Why there is no photo, and what would fit; the same words for the same fault."""
        if photo in self._unfetched:
            return self._unfetched[photo]
        if ADDRESS.search(photo):
            return "the file is missing; it is an address: download the photos below ingest.root"
        if os.path.islink(self._root / photo):
            return "the file is missing; a link leads to it (where DVC made that, dvc checkout)"
        folder, _, name = photo.replace("\\", "/").rpartition("/")
        folder = sources.plain_path(folder)
        if ".." in folder.split("/"):
            return "the file is missing"
        found = self._find(folder, name)
        if found is None:
            is_there = (self._root / folder).is_dir()
            return "the file is missing" + ("" if is_there else f", and so is its folder, {folder}")
        notes = " and ".join(_differences(photo, folder, name, found))
        return f"the file is missing; {notes} it is there{self._remedy(photo, id, found)}"

    def _find(self, folder: str, name: str) -> str | None:
        """The path of a file that is much like it."""
        parts = folder.split("/") if folder else []
        # As it is; below the first folder, or below the root, with less before it.
        shorter = [parts[:1] + parts[at:] for at in range(2, len(parts) + 1)]
        shorter += [parts[at:] for at in range(1, len(parts) + 1)]
        places = ["/".join(each) for each in (parts, *shorter)]
        for place in places:
            if fitting := self._in_folder(place, name):
                return sources.plain_path(f"{place}/{fitting}")
        if not self._searches:
            return None
        if self._folders is None:
            walk = (level.folder for level in sources.levels(self._root, "."))
            self._folders = [sources.plain_path(each) for each in islice(walk, FOLDERS)]
        for at, place in enumerate(self._folders):
            if fitting := self._in_folder(place, name):
                self._folders.insert(0, self._folders.pop(at))
                return sources.plain_path(f"{place}/{fitting}")
        self._searches -= 1
        return None

    def _in_folder(self, folder: str, name: str) -> str | None:
        """The name of a photo in ``folder`` that is much like ``name``."""
        if folder not in self._files:
            self._files[folder] = self._list(folder)
        files = self._files[folder]
        return files.get(_key(name)) or files.get(_key(os.path.splitext(name)[0]))

    def _list(self, folder: str) -> dict[str, str]:
        try:
            with os.scandir(self._root / folder) as entries:
                names = sorted(entry.name for entry in islice(entries, FILES))
        except OSError:
            return {}
        photos = [name for name in names if os.path.splitext(name)[1].lower() in suffixes()]
        by_stem = {_key(os.path.splitext(name)[0]): name for name in reversed(photos)}
        return by_stem | {_key(name): name for name in reversed(photos)}

    def _remedy(self, photo: str, id: str, found: str) -> str:
        """The option to set, where one would do."""
        folders = [
            (key, value)
            for key, value in self._options.items()
            if isinstance(value, str) and photo.startswith(f"{value}/")
        ]
        if not folders:
            return ""
        key, folder = max(folders, key=lambda each: len(each[1]))
        option = f"ingest.{self._source}"
        inside = found.removeprefix(f"{sources.plain_path(folder)}/")
        if "pattern" in self._options and inside != found and inside.count(id) == 1:
            return f": set {option}.pattern to {inside.replace(id, '{id}')}"
        name = photo.removeprefix(f"{folder}/")
        if f"/{found}".endswith(f"/{name}"):
            return f": set {option}.{key} to {found[: -len(name)].rstrip('/') or '.'}"
        return ""


def _key(name: str) -> str:
    return _nfc("".join(name.split())).casefold()


def _nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _differences(photo: str, folder: str, name: str, found: str) -> list[str]:
    """In what the path of the file that is there differs, in words."""
    place, _, there = found.rpartition("/")
    stem_there, ending_there = os.path.splitext(there)
    stem, ending = os.path.splitext(name)
    if _key(name) == _key(stem_there):
        stem, ending = name, ""
    ending = ending.strip()
    is_same_ending = ending.lower() == ending_there.lower()
    differences = ["with / for \\"] if "\\" in photo else []
    if place != folder:
        differences.append(f"in {place or 'ingest.root itself'}")
    if not is_same_ending:
        differences.append(f"with {ending_there} " + (f"for {ending}" if ending else "at its end"))
    if sum(map(str.isspace, name)) != sum(map(str.isspace, there)):
        differences.append("with other blanks")
    bare, bare_there = "".join(stem.split()), "".join(stem_there.split())
    if _nfc(bare) != _nfc(bare_there) or (is_same_ending and ending != ending_there):
        differences.append("in other upper and lower case")
    elif bare != bare_there:
        differences.append("in another form of Unicode")
    return differences or [f"as {there}"]

"""How the names in a list, such as a column of a table, lead to photos."""

import os
import re
from collections import Counter
from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple

from experiments.look.index import Index, folder_of
from stages.ingest.sources import plain_path

NAMES = 20_000  # that are looked at
PATHS = 1000  # of photos of one name, likewise
TRIED = 20  # names that are sought as a part of a photo's name
FOLDERS = 60  # at most; in more, photos lie otherwise than names say
PREFERRED = (".jpg", ".jpeg", ".png")  # where photos are there in several formats


class Match(NamedTuple):
    """Where the photos of names are.

    Attributes:
        folders: as the options of sources name them.
        pattern: the name of a photo's file, which holds ``{id}`` or ``{stem}``.
        found: how many names lead to a photo.
        names: how many there are, each counted once.
    """

    folders: list[str]
    pattern: str
    found: int
    names: int

    @property
    def photos(self) -> str | list[str]:
        """The option ``photos`` of a table."""
        if len(self.folders) == 1:
            return self.folders[0]
        patterns = {re.sub(r"\d+", "*", folder) for folder in self.folders}
        return patterns.pop() if len(patterns) == 1 else sorted(self.folders)


def match(names: Iterable[str], index: Index, *, parts: bool = False) -> Match | None:
    """Where the photos of ``names`` are; None where there is none.

    Args:
        parts: whether a name may be but a part of that of its photo, as 7 of ``im7.jpg``.
    """
    plain = (plain_path(name.replace("\\", "/")) for name in names)
    distinct = list(islice(dict.fromkeys(filter(None, plain)), NAMES))
    places: Counter[tuple[str, str]] = Counter()  # a folder and a pattern
    leads: dict[str, list[tuple[str, str]]] = {}
    for name in distinct:
        known = [place for place in places if _path(*place, name) in index.photos]
        leads[name] = known or _leads(name, index)
        places.update(leads[name])
    if not places:
        return _by_parts(distinct, index) if parts else None
    pattern = max(places, key=lambda place: (places[place], _is_preferred(place[1])))[1]
    fitting = {
        name: [folder for folder, each in found if each == pattern] for name, found in leads.items()
    }
    folders = _fewest([found for found in fitting.values() if found])
    found = sum(not found.isdisjoint(folders) for found in map(set, fitting.values()))
    return Match(folders, pattern, found, len(distinct))


def _leads(name: str, index: Index) -> list[tuple[str, str]]:
    """The folders and patterns by which ``name`` is that of a photo."""
    last = name.rpartition("/")[2]
    stem, ending = os.path.splitext(last)
    if last in index.by_name:
        paths = ((path, "{id}", name) for path in islice(index.by_name[last], PATHS))
    elif last in index.by_stem:
        all_of_it = islice(index.by_stem[last], PATHS)
        paths = ((path, f"{{id}}{(end := _ending(path))}", f"{name}{end}") for path in all_of_it)
    elif stem in index.by_stem and ending:
        without = name.removesuffix(ending)
        of_stem = islice(index.by_stem[stem], PATHS)
        paths = ((path, f"{{stem}}{(end := _ending(path))}", f"{without}{end}") for path in of_stem)
    else:
        return []
    return [
        (path[: -len(end)].rstrip("/") or ".", pattern)
        for path, pattern, end in paths
        if path == end or path.endswith(f"/{end}")
    ]


def _path(folder: str, pattern: str, name: str) -> str:
    file = pattern.replace("{id}", name).replace("{stem}", os.path.splitext(name)[0])
    return file if folder == "." else f"{folder}/{file}"


def _ending(path: str) -> str:
    return os.path.splitext(path)[1]


def _is_preferred(pattern: str) -> bool:
    return pattern.lower().endswith(PREFERRED)


def _fewest(choices: list[list[str]]) -> list[str]:
    """Folders of which each of ``choices`` has one: always the one that most of the others have."""
    taken: list[str] = []
    while choices and len(taken) < FOLDERS:
        count = Counter(folder for choice in choices for folder in choice)
        most = max(count, key=lambda folder: count[folder])
        taken.append(most)
        choices = [choice for choice in choices if most not in choice]
    return taken


def _by_parts(names: list[str], index: Index) -> Match | None:
    """By a pattern with something before or after the name, the same for all."""
    tried: Counter[tuple[str, str]] = Counter()
    for name in names[:TRIED]:
        for stem in index.by_stem:
            if name in stem:
                before, _, after = stem.partition(name)
                tried[before, after] += 1
    best = 0, ("", "")
    for around, _ in tried.most_common(TRIED):
        found = sum(f"{around[0]}{name}{around[1]}" in index.by_stem for name in names)
        best = max(best, (found, around))
    found, (before, after) = best
    if not found or 2 * found < len(names):
        return None
    paths = [path for name in names for path in index.by_stem.get(f"{before}{name}{after}", [])]
    ending = Counter(map(_ending, paths)).most_common(1)[0][0]
    folders = dict.fromkeys(map(folder_of, paths))
    return Match(list(folders), f"{before}{{id}}{after}{ending}", found, len(names))

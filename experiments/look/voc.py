"""Pascal VOC: XML files of photos, or a list of photos for each class."""

import os
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from experiments.look.candidate import ANNOTATIONS, LISTS, Candidate
from experiments.look.index import Index, folder_of
from experiments.look.names import match
from experiments.look.parts import TEST, TRAIN, VALIDATION, by_part

SET = re.compile(r"(?:(?P<label>.+)_)?(?:train|val|trainval|test|default)\.txt")
VALUE = re.compile(r"\S+\s+(?:-1|0|1)\s*")
MARK = b"<annotation"
ALONE: dict[str, Any] = {"validation": None, "test": None}
HEAD = 4096  # bytes


def candidates(index: Index, _: list[str]) -> Iterator[Candidate]:
    """What XML files and lists below a folder may be."""
    photos, sets = _folders_of_photos(index), _sets(index)
    options: dict[str, Any]
    for folder, there in photos.items():
        if folder != there:
            near = max(sets, key=lambda each: _in_common(each, folder), default=None)
            options = {"annotations": folder, "photos": there, "sets": near} | ALONE
            why = {
                "annotations": "XML files of photos",
                "photos": "photos of the same names",
                "sets": "lists of these photos" if near else "no lists of photos are there",
            }
            yield _candidate(ANNOTATIONS, f"XML files, {folder}", options, why)
    parts = by_part([folder for folder, there in photos.items() if folder == there])
    if folder := parts.get(TRAIN, ""):
        options = {"annotations": folder, "photos": folder, "sets": None}
        options |= {part: parts.get(part) for part in (VALIDATION, TEST)}
        word = "XML files beside their photos"
        why = dict.fromkeys(parts.keys() - {TRAIN}, "by its name") | {"annotations": word}
        yield _candidate(ANNOTATIONS, f"XML files beside photos, {folder}", options, why)
    for folder, ids in sets.items():
        if (found := match(ids, index)) and _has_values(index, folder):
            options = {"annotations": None, "photos": found.folders[0], "sets": folder} | ALONE
            why = {"sets": "lists of photos of each class, with 1, 0 or −1"}
            yield _candidate(LISTS, f"lists of each class, {folder}", options, why)


def _candidate(rank: int, shape: str, options: dict[str, Any], why: dict[str, str]) -> Candidate:
    return Candidate(f"Pascal VOC's {shape}", rank, "pascal-voc", options, why)


def _folders_of_photos(index: Index) -> dict[str, str]:
    """For each folder with XML files of photos, the folder of these photos."""
    files: dict[str, list[str]] = defaultdict(list)
    for path in index.with_suffix(".xml"):
        files[folder_of(path)].append(path)
    found = {}
    for folder, paths in files.items():
        with (index.root / paths[0]).open("rb") as file:
            if MARK not in file.read(HEAD):
                continue
        stems = [PurePosixPath(path).stem for path in paths]
        lead_to = {folder_of(path) for stem in stems for path in index.by_stem.get(stem, ())}
        if folder in lead_to:
            found[folder] = folder
        elif there := match(stems, index):
            found[folder] = there.folders[0]
    return found


def _sets(index: Index) -> dict[str, list[str]]:
    """The folders with lists of photos, and the photos that a list of each names."""
    found: dict[str, list[str]] = {}
    for path in index.with_suffix(".txt"):
        if SET.fullmatch(path.rpartition("/")[2]):
            lines = (index.root / path).read_text("utf-8", "replace").splitlines()
            ids = [line.split()[0] for line in lines if len(line.split()) in (1, 2)]
            found.setdefault(folder_of(path), []).extend(ids)
    return {folder: ids for folder, ids in found.items() if ids}


def _in_common(one: str, other: str) -> int:
    """How many letters the folders have that two paths begin with."""
    return len(os.path.commonpath([one, other]))


def _has_values(index: Index, folder: str) -> bool:
    """Whether a list of a class in ``folder`` says of each photo 1, 0 or −1."""
    for path in index.with_suffix(".txt"):
        named = SET.fullmatch(path.rpartition("/")[2])
        if named and named["label"] and folder_of(path) == folder:
            lines = (index.root / path).read_text("utf-8", "replace").splitlines()
            return all(VALUE.fullmatch(line) for line in lines if line.strip())
    return False

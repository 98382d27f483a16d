"""A folder for each label, in given parts or not."""

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from experiments.look.candidate import FOLDERS, SHARES, Candidate
from experiments.look.index import Index, in_folder
from experiments.look.parts import TEST, TRAIN, VALIDATION, by_part, part_of

# What folders of photos are called, whatever is in these.
NO_LABELS = frozenset("data images imgs jpegimages photos pictures".split())


def candidates(index: Index, _: list[str]) -> Iterator[Candidate]:
    """The highest folder with several folders of photos in it."""
    inside: dict[str, set[str]] = defaultdict(set)  # the folders with photos in each folder
    for folder in index.folders():
        parts = folder.split("/") if folder != "." else []
        for at, name in enumerate(parts):
            inside["/".join(parts[:at]) or "."].add(name)
    top = "."
    while len(inside[top]) == 1 and inside[in_folder(top, *inside[top])]:
        top = in_folder(top, *inside[top])
    names = sorted(inside[top])
    if names and None not in map(part_of, names):
        parted = {part: in_folder(top, name) for part, name in by_part(names).items()}
        labels = {label for folder in parted.values() for label in inside[folder]}
        if TRAIN in parted and inside[parted[TRAIN]]:
            yield from _candidate(parted, labels)
    elif len(names) > 1:
        yield from _candidate({TRAIN: top}, {*names})


def _candidate(folders: dict[str, str], labels: set[str]) -> Iterator[Candidate]:
    """The folders of labels in these, one for each part."""
    if {label.lower() for label in labels} <= NO_LABELS:
        return
    options: dict[str, Any] = {"photos": folders[TRAIN]}
    options |= {part: folders.get(part) for part in (VALIDATION, TEST)}
    why = dict.fromkeys(folders.keys() - {TRAIN}, "by its name")
    why["photos"] = "folders of photos are in it"
    shape = f"a folder for each label, in {', '.join(folders.values())}"
    if len(labels) > 1 and len({re.sub(r"\d+", "", label) for label in labels}) == 1:
        doubt = "folders whose names differ only in digits may be shares of many photos, no labels"
        yield Candidate(shape, SHARES, "folders", options, why, doubts=(doubt,))
    else:
        yield Candidate(shape, FOLDERS, "folders", options, why)

"""Which part a file or a folder is of, by the words in its name."""

import re
from collections.abc import Sequence

from stages.ingest.tables.about import SUBSETS, subset_of

TRAIN, VALIDATION, TEST = PARTS = ("train", "validation", "test")


def part_of(path: str) -> str | None:
    """``train``, ``validation`` or ``test``, by the last such word; None where there is none."""
    words = [word for word in re.split(r"[\W\d_]+", path) if word.lower() in SUBSETS]
    if not words:
        return None
    subset, part = subset_of(words[-1]) or ("", None)
    return part or subset


def by_part(paths: Sequence[str]) -> dict[str, str]:
    """The first path of each part; one that names none is of train, if no other is."""
    found: dict[str, str] = {}
    for path in paths:
        if part := part_of(path):
            found.setdefault(part, path)
    for path in paths:
        if part_of(path) is None:
            found.setdefault(TRAIN, path)
    return found

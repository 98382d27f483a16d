"""A folder of text files, one for each class, that list the names of its photos."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from experiments.look.candidate import CLASS_FILES, Candidate
from experiments.look.index import Index, folder_of
from experiments.look.names import match
from experiments.look.voc import SET

LOOKED_AT = 5  # files, to see whether they are lists


def candidates(index: Index, _: list[str]) -> Iterator[Candidate]:
    """Each folder of text files whose lines are names of photos, or parts of these."""
    lists: dict[str, list[str]] = defaultdict(list)
    for path in index.with_suffix(".txt"):
        if SET.fullmatch(path.rpartition("/")[2]):
            continue
        lists[folder_of(path)].append(path)
    for folder, files in lists.items():
        # Of text files that are something else, as boxes, there may be one for each photo.
        if not match(_names(index, files[:LOOKED_AT]), index, parts=True):
            continue
        there = match(_names(index, files), index, parts=True)
        if there and 2 * there.found > there.names and "{stem}" not in there.pattern:
            options = {"lists": folder, "photos": there.folders[0], "pattern": there.pattern}
            why = {
                "lists": f"{len(files):,} text files, whose lines are names of photos",
                "photos": f"{there.found:,} of {there.names:,} names lead to photos there",
                "pattern": "so are the files of its names called",
            }
            shape = f"a text file for each class, {folder}"
            yield Candidate(shape, CLASS_FILES, "class-files", options | {"test": None}, why)


def _names(index: Index, files: Sequence[str]) -> list[str]:
    """The lines of ``files``."""
    texts = ((index.root / path).read_text("utf-8", "replace") for path in files)
    lines = (line.strip() for text in texts for line in text.splitlines())
    return [line for line in lines if line]

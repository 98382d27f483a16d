"""``class-files``: a folder of text files, one a class, each listing ids; a folder of photos.

The file's name is the label, ``baby.txt``. Every photo of the folder is a record: one that no
file lists is known to have no label. A list may name photos that are not there, which are set
aside; one that names no photo that is there is an error.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from stages import UserError
from stages.ingest import naming
from stages.ingest.records import in_natural_order
from stages.ingest.sources import Row, Unreadable, photo_files, read_text
from stages.params import Section

MAY_LACK = ("test",)


class Options(Section):
    lists: str
    photos: str
    test: str | None
    pattern: str


def rows(root: Path, options: Options) -> Iterator[Row | Unreadable]:
    if options.pattern.count("{id}") != 1:
        raise UserError(
            f"ingest.class-files.pattern is {options.pattern!r}; it must hold {{id}} once, "
            "as in im{id}.jpg"
        )
    lists = photo_files(root, options.lists)
    if not lists:
        raise UserError(f"{root / options.lists} holds no list of ids, one file a class")
    naming.check((Path(name).stem for name in lists), f"{root / options.lists}, a file a label")
    labels: dict[str, list[str]] = {}
    first_listed: dict[str, tuple[str, int]] = {}
    for name in lists:
        file = f"{options.lists}/{name}"
        for line, listed in enumerate(read_text(root, file).splitlines(), 1):
            if id := listed.strip():
                labels.setdefault(id, []).append(Path(name).stem)
                first_listed.setdefault(id, (file, line))

    for subset, folder in (("train", options.photos), ("test", options.test)):
        if folder is None:
            continue
        ids, strange = _ids(photo_files(root, folder), options.pattern)
        for number, name in enumerate(strange, 1):
            reason = f"its name is not as ingest.class-files.pattern, {options.pattern}"
            yield Unreadable(folder, number, reason, f"{folder}/{name}")
        known = subset == "train"
        if known and ids:
            _check_lists(root, options, labels, ids)
        missing = [id for id in labels if known and id not in ids]
        for number, id in enumerate(in_natural_order(ids) + missing, 1):
            file, row = first_listed.get(id, (folder, number)) if known else (folder, number)
            yield Row(
                file=file,
                row=row,
                id=id,
                photo=f"{folder}/{options.pattern.replace('{id}', id)}",
                subset=subset,
                labels=sorted(set(labels.get(id, []))) if known else None,
                caption=None,
            )


def _ids(names: list[str], pattern: str) -> tuple[set[str], list[str]]:
    """The ids of the files that are named by the pattern, and the names of the others."""
    before, after = map(re.escape, pattern.split("{id}"))
    matches = {name: re.fullmatch(f"{before}(.+){after}", name, re.DOTALL) for name in names}
    ids = {match[1] for match in matches.values() if match}
    return ids, [name for name, match in matches.items() if not match]


def _check_lists(root: Path, options: Options, labels: dict[str, list[str]], ids: set[str]) -> None:
    """Raises a ``UserError`` where none of the ids of a list is one of ``ids``, the photos'."""
    found = {label for id in ids for label in labels.get(id, ())}
    for id, listed in labels.items():
        for label in listed:
            if label not in found:
                raise UserError(
                    f"{root / options.lists}: the list of {label} names no photo of "
                    f"{root / options.photos}: its ids are such as {id!r}"
                    f"{_what_would_fit(id, ids, options.pattern)}"
                )


def _what_would_fit(id: str, ids: set[str], pattern: str) -> str:
    name, folded = pattern.replace("{id}", min(ids)), id.casefold()
    for other in sorted(ids):
        file = pattern.replace("{id}", other)
        if file.casefold() == folded:
            return "; set ingest.class-files.pattern to {id}"
        if folded.lstrip("0") == other.casefold().lstrip("0"):
            return f"; {file} is there: write {other}"
        if folded in file.casefold():
            at = file.casefold().index(folded)
            fitting = f"{file[:at]}{{id}}{file[at + len(id) :]}"
            return f"; {file} is there: set ingest.class-files.pattern to {fitting}"
    return f", those of the photos such as {min(ids)!r}, of {name} (ingest.class-files.pattern)"

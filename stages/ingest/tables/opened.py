"""All files of a table, open, their columns checked."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from stages import UserError
from stages.ingest.tables.about import AboutReader, subset_of
from stages.ingest.tables.files import Table, open_table
from stages.ingest.tables.labels import label_columns
from stages.ingest.tables.options import Options
from stages.ingest.tables.photos import matching


class Opened(NamedTuple):
    """A file of a table.

    Attributes:
        file: its path below the root.
        part: of its photos, where no column says it: ``train``, ``validation`` or ``test``.
        taken: its columns of labels; none where it is of test photos whose labels are not known.
    """

    file: str
    path: Path
    part: str
    table: Table
    taken: list[str]


def open_all(root: Path, options: Options) -> list[Opened]:
    """The files that ``ingest.table`` names, those of each part in their order, each once.

    Those of test photos may have fewer columns: what is not there is not known.

    Raises:
        UserError: one is missing, is not what its suffix says or lacks a column; it is named for
            two parts; or where all other columns are labels, these are not the same in all files.
    """
    parts: dict[str, str] = {}
    for pattern, part in options.files:
        for file in matching(root, pattern):
            if (before := parts.setdefault(file, part)) != part:
                raise UserError(
                    f"{root / file} is named for two parts, {before} and {part}; say in "
                    "ingest.table which files are of which part"
                )
    opened: list[Opened] = []
    for file, part in parts.items():
        path, needed = root / file, options.named
        if part == "test":
            needed = [name for name in (options.id, options.image) if name]
        table = open_table(path, options.encoding, options.delimiter, needed)
        is_unlabelled = part == "test" and {*opened[0].taken}.isdisjoint(table.columns)
        taken = [] if is_unlabelled else label_columns(path, table, options)
        opened.append(Opened(file, path, part, table, taken))
    for each in opened:
        if each.taken and (strange := {*each.taken} ^ {*opened[0].taken}):
            raise UserError(
                f"{opened[0].path} and {each.path} differ in their columns of labels: only one has "
                f"{', '.join(sorted(strange))}; choose in ingest.table.labels, or name what is no "
                "label in ingest.table.exclude"
            )
    return opened


def about_readers(opened: Sequence[Opened], options: Options) -> list[AboutReader]:
    """What reads of each file what it says beside labels.

    A file that names photos for validation parts all photos for training, so that the column of
    subsets is read to its end before.
    """
    is_parted = options.validation is not None or (
        options.subset is not None
        and any(
            (subset_of(cell) or ("", None))[1] == "validation"
            for each in opened
            for batch in each.table.read([options.subset])
            for cell in {*batch.columns[0]}
        )
    )
    return [AboutReader(options, each.table, each.part, is_parted=is_parted) for each in opened]

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
        taken: its columns of labels.
    """

    file: str
    path: Path
    table: Table
    taken: list[str]


def open_all(root: Path, options: Options) -> list[Opened]:
    """The files that ``ingest.table.file`` names, in its order, each once.

    Raises:
        UserError: one is missing, is not what its suffix says or lacks a column; or where all other
            columns are labels, these are not the same in all files.
    """
    patterns = [options.file] if isinstance(options.file, str) else options.file
    opened: list[Opened] = []
    for file in dict.fromkeys(file for each in patterns for file in matching(root, each)):
        path = root / file
        table = open_table(path, options.encoding, options.delimiter, options.named)
        opened.append(Opened(file, path, table, label_columns(path, table, options)))
    for each in opened:
        if strange := {*each.taken} ^ {*opened[0].taken}:
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
    is_parted = options.subset is not None and any(
        (subset_of(cell) or ("", None))[1] == "validation"
        for each in opened
        for batch in each.table.read([options.subset])
        for cell in {*batch.columns[0]}
    )
    return [
        AboutReader(options, is_parted=is_parted, tells_empty=each.table.tells_empty)
        for each in opened
    ]

"""Tables: CSV, JSON Lines, Parquet and Excel with a row a photo, or one for each of its labels."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

from experiments.look.candidate import TABLE, UNSURE, Candidate
from experiments.look.columns import NO_FINDING, Column
from experiments.look.index import Index
from experiments.look.names import Match, match
from experiments.look.parts import TEST, TRAIN, VALIDATION, part_of
from experiments.look.sheets import Sheet, sheets
from experiments.look.values import Option, meanings, numbered
from stages.ingest.addresses import is_address
from stages.ingest.tables.labels import NEVER

FEWEST = 0.02  # of the rows: names that lead to photos
READINGS = 3  # of a table, at most
FEW_MORE = 1.1  # rows of a photo, on average: some photos stand twice
# The options of a table of which nothing else is known.
PLAIN: dict[str, Any] = {
    **dict.fromkeys(("image", "exclude", "names", "value", "bounds", "delimiter", "encoding")),
    **dict.fromkeys(("caption", "subset", "group", "time", "validation", "test")),
    **{"photos": "photos", "pattern": "{id}", "separator": " ", "long": False},
    **{"positive": [1, True], "negative": [0, False], "unknown": [""]},
    **{"absent": "negative", "duplicates": "refuse"},
}
MERGED = ("merge", "some photos have several rows")


class Ids(NamedTuple):
    """What says which photo a row is of.

    Attributes:
        column: None: the names in the cells that hold the photos.
        match: where the photos are; None where all are at addresses, or in cells.
        addresses: how many names are such.
        image: the column whose cells hold the photos.
    """

    column: Column | None
    match: Match | None = None
    addresses: int = 0
    image: str | None = None

    @property
    def found(self) -> int:
        """How many names lead to photos, or are addresses."""
        return self.addresses + (self.match.found if self.match else 0)

    @property
    def rows(self) -> float:
        """Of a photo, on average."""
        texts = self.column.texts if self.column else ()
        return len(texts) / len(self.column.distinct) if self.column and texts else 1.0


class Reading(NamedTuple):
    """What one reading adds to the options of a table, each with a word on it; as ``Candidate``."""

    shape: str
    options: dict[str, Option]
    more: dict[str, Option]
    doubts: Sequence[str] = ()


def candidates(index: Index, troubles: list[str]) -> Iterator[Candidate]:
    """What the tables below a folder may be, the likelier reading of each first.

    Adds what cannot be read to ``troubles``.
    """
    without_labels: list[str] = []
    parts: set[str] = set()  # files that are read with another
    for sheet in sheets(index, troubles):
        if not index.by_name.keys().isdisjoint(sheet.columns):
            troubles.append(
                f"{sheet.file} begins with a photo; write a line above it that names the columns, "
                "such as id,labels"
            )
        elif ids := _ids(sheet, index):
            reader = _Reader(sheet, ids, index)
            readings = [*reader.candidates()]
            if readings:
                parts |= {each.file for each in chain(*reader.parts.values())}
            else:
                without_labels.append(sheet.file)
            yield from readings
        else:
            troubles += _elsewhere(sheet, index)
    troubles += (
        f"{file} names photos, but no column of it can hold labels"
        for file in without_labels
        if file not in parts
    )


def _ids(sheet: Sheet, index: Index) -> Ids | None:
    """The column whose cells lead to the most photos; of several, names of files, then the first.

    Whole names count before those that are but a part of their photo's.
    """
    if sheet.images:
        return Ids(None, image=sheet.images[0])
    for parts in (False, True):
        best: list[Ids] = []
        for column in sheet.columns.values():
            if column.contents:
                continue
            names = [name for name in column.distinct if not is_address(name)]
            found = match(names, index, parts=parts)
            ids = Ids(column, found, len(column.distinct) - len(names))
            if ids.found and ids.found >= FEWEST * len(column.cells):
                best.append(ids)
        if best:
            return max(best, key=lambda ids: (ids.found, ids.match and ids.match.pattern == "{id}"))
    return None


def _elsewhere(sheet: Sheet, index: Index) -> Iterator[str]:
    """Says which names are those of photos, but of other folders than they name."""
    for column in sheet.columns.values():
        for name in column.distinct:
            *folders, last = name.replace("\\", "/").split("/")
            if folders and last in index.by_name:
                where = index.by_name[last][0]
                above = index.root.resolve()
                remedy = f"look at {above.parent}" if above.name in folders else "correct the names"
                yield (
                    f"{sheet.file}: its column {column.name} names {name}, and what is there is "
                    f"{where}: {remedy}"
                )
                break


class _Reader:
    """Reads a table in several ways.

    Attributes:
        parts: the tables of photos that validate and of test photos, by their names.
    """

    def __init__(self, sheet: Sheet, ids: Ids, index: Index) -> None:
        self._sheet, self._ids, self._index = sheet, ids, index
        taken = {ids.column.name} if ids.column else set()
        self._rest = {n: column for n, column in sheet.columns.items() if n not in taken}
        # What else the table says of a photo, by the options that name it.
        self._about: dict[str, Column] = {}
        for option in ("subset", "time", "group", "caption"):
            fitting = (c for c in self._rest.values() if getattr(c, f"is_{option}"))
            if column := next(fitting, None):
                self._about[option] = self._rest.pop(column.name)
        self._is_of_train = part_of(sheet.file) in (TRAIN, None)
        self.parts: dict[str, list[Sheet]] = {}
        if self._is_of_train and ids.column and "subset" not in self._about:
            for other in sheet.siblings:
                part = part_of(other.file)
                if part in (VALIDATION, TEST) and ids.column.name in other.columns:
                    self.parts.setdefault(part, []).append(other)

    def candidates(self) -> Iterator[Candidate]:
        of_cells = self._label_cells()
        # Better than columns that some rows merely share, as one of places.
        sure = [each for each in of_cells if each.is_named_labels or each.contents]
        sure.sort(key=lambda each: (each.is_named_labels, bool(each.contents)), reverse=True)
        bits = [each for each in self._rest.values() if each.is_one_hot]
        readings = [self._of_cell(column) for column in sure or of_cells]
        if bits:
            readings.insert(bool(sure), self._of_columns(bits))
        rank = TABLE if self._is_of_train and (sure or bits) else UNSURE
        for reading in readings[:READINGS]:
            yield self._candidate(reading, rank)

    def _label_cells(self) -> list[Column]:
        """The columns whose cells may hold labels; what photos have in common, if nothing else."""
        found = [column for column in self._rest.values() if column.is_label_cells]
        if not found and not any(column.is_one_hot for column in self._rest.values()):
            found = [column] if (column := self._about.pop("group", None)) else []
        return found

    def _candidate(self, reading: Reading, rank: int) -> Candidate:
        options: dict[str, Option] = {"file": (self._sheet.file, "the table")}
        for part, tables in self.parts.items():
            files = [each.file for each in tables]
            options[part] = (files if files[1:] else files[0], "by the name, with its columns")
        options |= self._photos() | reading.options
        whys = {
            "subset": "its words say train, validation or test",
            "time": "it holds times in ISO 8601",
            "group": "by its name, what photos have in common",
            "caption": "it holds sentences",
        }
        for option, column in self._about.items():
            options[option] = (column.name, whys[option])
        doubts = list(reading.doubts)
        others = [c.name for c in self._rest.values() if c.is_group]
        if others:
            doubts.append(
                f"photos may be grouped by {', '.join(others)} as well; one column may be "
                "ingest.table.group"
            )
        read = [*chain(*self.parts.values())]
        if left := [each.file for each in self._sheet.siblings if each not in read]:
            doubts.append(
                f"{', '.join(left)}: the columns of {self._sheet.file}, but not read; if they are "
                "other parts of the photos, name them in ingest.table.file, validation or test"
            )
        values = {key: value for key, (value, _) in options.items()}
        return Candidate(
            f"a table, {self._sheet.file}, with {reading.shape}",
            *(rank, "table"),
            values | {key: value for key, value in PLAIN.items() if key not in values},
            {key: why for key, (_, why) in options.items()},
            reading.more,
            tuple(doubts),
        )

    def _photos(self) -> dict[str, Option]:
        """The options that say where the photos are."""
        ids = self._ids
        if ids.column is None:
            why = "its cells hold the photos"
            return {"image": (ids.image, why), "id": (None, "photos have names there, or none")}
        found: dict[str, Option] = {}
        if (there := ids.match) is not None:
            others = (table.columns[ids.column.name] for table in chain(*self.parts.values()))
            if names := [name for column in others for name in column.distinct]:
                together = match([*ids.column.distinct, *names], self._index, parts=True)
                there = together or there
            named = f"{there.found:,} of {there.names:,} names lead to photos there"
            found["photos"] = (there.photos, named)
            if there.pattern != "{id}":
                found["pattern"] = (there.pattern, "so are the files of its names called")
        why = "it names the photos" if there else "it names the photos by their addresses"
        return found | {"id": (ids.column.name, why)}

    def _of_cell(self, column: Column) -> Reading:
        """A column that holds all labels of a photo, or in long form, one."""
        separator = column.separator()
        options: dict[str, Option] = {"labels": (column.name, _why_labels(column))}
        doubts: list[str] = []
        kind = "lists" if any(not isinstance(c, dict) for c in column.contents) else "dictionaries"
        shape = f"{kind} of labels in a cell" if column.contents else "all labels in a cell"
        if self._ids.rows > FEW_MORE and not column.contents and not column.has_separator:
            shape = "a row for each photo and label"
            options["long"] = (True, "photos have several rows")
            options |= self._values(doubts)
            separator = None
        elif separator is None and column.has_blanks:
            options["separator"] = ("|", "names are of several words: there are more words than "
                                         "different cells")  # fmt: skip
            doubts.append("if blanks stand between labels: ingest.table.separator: ' '")
        elif separator is not None:
            options["separator"] = (separator, "it stands between names in a cell")
            if separator == " ":
                doubts.append(
                    f"cells of {column.name} with blanks are read as several labels; if they are "
                    "names of several words: ingest.table.separator: '|'"
                )
        if self._ids.rows > 1 and "long" not in options:
            options["duplicates"] = MERGED
        if names := numbered(column, separator, self._index):
            options["names"] = names.option
            doubts += names.doubts
        pieces = (text.split(separator or NEVER) for text in column.distinct)
        said = {piece.strip() for each in pieces for piece in each}
        return Reading(shape, options, _none(said), doubts)

    def _values(self, doubts: list[str]) -> dict[str, Option]:
        """In long form: the column that says whether the photo has the label."""
        column = next((each for each in self._rest.values() if each.is_values), None)
        if column is None:
            return {}
        option = {"value": (column.name, "it says yes or no, or how sure")}
        if not column.is_bits:
            doubts.append("ingest.table.bounds are a guess; say from which number on a label holds")
            return option | {"bounds": ([0.2, 0.8], "between them, nobody knows")}
        if "0" not in column.values:
            return option
        doubts.append(
            "labels that no row of a photo names are taken as not known, for some rows say no; if "
            "they are not there: ingest.table.absent: negative"
        )
        return option | {"absent": ("unknown", "rows also say no: what is not there was not asked")}

    def _of_columns(self, bits: list[Column]) -> Reading:
        """A column for each label."""
        names = [column.name for column in bits]
        others = [name for name in self._rest if name not in names]
        others += [name for name in self._sheet.images if name != self._ids.image]
        options: dict[str, Option]
        if len(others) <= len(names):
            options = {"labels": (None, f"{len(names):,} columns hold only 1, 0, −1 or nothing")}
            if others:
                options["exclude"] = (others, "they hold something else")
        else:
            options = {"labels": (names, "these columns hold only 1, 0, −1 or nothing")}
        if self._ids.rows > 1:
            options["duplicates"] = MERGED
        known, doubts = meanings(frozenset().union(*(column.values for column in bits)))
        if left := [each.name for each in self._rest.values() if each.is_bits and each not in bits]:
            doubts.append(f"{', '.join(left)}: ones and zeros, but by the name no label")
        return Reading("a column for each label", options | known, _none({*names}), doubts)


def _why_labels(column: Column) -> str:
    if column.is_named_labels:
        return "by its name"
    return "it holds lists" if column.contents else "rows share what its cells say"


def _none(names: set[str]) -> dict[str, Option]:
    found = sorted(name for name in names if name.casefold() in NO_FINDING)
    return {"none": (found, "by the name, it says that a photo has no label")} if found else {}

"""What the columns of a table look like: labels, parts, groups, times, captions, or nothing."""

import re
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any

import polars as pl

from stages.ingest.tables.about import SUBSETS, text_of, time_of
from stages.ingest.tables.cells import MISSING, normal, structured

BITS = {"1", "0", "-1"}
WORDS_OF_A_CAPTION = 4.0  # on average, at least
SEPARATORS = ("|", ";", ",")
NO_FINDING = frozenset(("no finding", "no findings", "none", "no label", "no labels"))

# Words of names of columns.
LABELS = frozenset(
    "attribute attributes category categories class classes finding findings genre genres keyword "
    "keywords label labels labelname species tag tags target targets".split()
)
CAPTIONS = frozenset("caption captions comment description sentence text".split())
GROUPS = frozenset(
    "album author burst camera clip event family group individual location patient person "
    "photographer place scene sequence series session site study subject trip user video".split()
)
SUBSET_NAMES = frozenset("fold part partition set split subset".split())
ITS_NUMBER = frozenset("id ids name no nr number".split())
VALUES = frozenset(
    "answer confidence presence present prob probability score value verified".split()
)
# Zeros and ones that are no labels: is_valid, test.
NO_LABELS = frozenset("fold index is split test train val valid validation".split())


class Column:
    """A column of a table.

    Args:
        cells: of the first rows.
        kind: the type of Parquet.
        is_numbered: whether its numbers have names, as Hugging Face's data sets have them.
    """

    def __init__(
        self,
        name: str,
        cells: Sequence[Any],
        kind: pl.DataType | None = None,
        *,
        is_numbered: bool = False,
    ) -> None:
        self.name, self.cells, self.kind, self.is_numbered = name, cells, kind, is_numbered

    @cached_property
    def words(self) -> frozenset[str]:
        """Those of the name, in lower case."""
        apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", self.name)
        return frozenset(re.findall(r"[^\W\d_]+", apart.lower()))

    @cached_property
    def texts(self) -> list[str]:
        """The cells as text; none of those that are empty, a list or a dictionary."""
        cells = (None if isinstance(cell, list | dict) else text_of(cell) for cell in self.cells)
        return [text for text in cells if text and text.strip() not in MISSING]

    @cached_property
    def distinct(self) -> dict[str, None]:
        return dict.fromkeys(self.texts)

    @cached_property
    def contents(self) -> list[Any]:
        """The lists and dictionaries in the cells, also those that are written down."""
        found: list[Any] = [cell for cell in self.cells if isinstance(cell, list | dict)]
        for text in self.distinct:
            with suppress(ValueError):
                content = structured(text)
                found += [content] if isinstance(content, list | tuple | set | dict) else []
        return found

    @cached_property
    def values(self) -> frozenset[str]:
        """Of one-hot columns, in the one way to write each; of a cell that is empty, ``""``."""
        return frozenset(
            normal(cell) if isinstance(cell, str | int | float) else ""
            for cell in dict.fromkeys(
                cell for cell in self.cells if cell is None or isinstance(cell, str | int | float)
            )
        )

    @property
    def is_bits(self) -> bool:
        """Whether it may be one-hot."""
        said = self.values - {""}
        return bool(said) and said <= BITS and not (self.contents or self.is_numbered)

    @property
    def is_one_hot(self) -> bool:
        """Whether it may be, and is not about the row by its name."""
        is_about_row = bool(self.words) and self.words <= NO_LABELS | VALUES
        return self.is_bits and (not is_about_row or self.words == {"train"})

    @property
    def is_numbers(self) -> bool:
        with suppress(ValueError):
            return bool([*map(float, self.distinct)])
        return False

    @property
    def is_named_labels(self) -> bool:
        return not self.words.isdisjoint(LABELS)

    @property
    def is_subset(self) -> bool:
        said = {text.strip().lower() for text in self.distinct}
        is_named = not self.words.isdisjoint(SUBSET_NAMES)
        return bool(said) and said <= SUBSETS.keys() and (is_named or len(said) > 1)

    @property
    def is_group(self) -> bool:
        is_named = not self.words.isdisjoint(GROUPS) and self.words <= GROUPS | ITS_NUMBER
        return is_named and not self.is_bits  # which a label may well be: person

    @property
    def is_time(self) -> bool:
        dates = [*self.distinct] or [""]
        with suppress(ValueError):
            return all("-" in text and time_of(text) is not None for text in dates)
        return bool(self.cells) and isinstance(self.kind, pl.Datetime | pl.Date)

    @property
    def is_caption(self) -> bool:
        if self.contents or self.is_numbers or self.is_named_labels or not self.distinct:
            return False
        mean = sum(len(text.split()) for text in self.texts) / len(self.texts)
        is_text = mean >= WORDS_OF_A_CAPTION and 2 * len(self.distinct) > len(self.texts)
        return not self.words.isdisjoint(CAPTIONS) or (is_text and not self.has_separator)

    @property
    def has_separator(self) -> bool:
        return any(sign in text for text in self._plain for sign in SEPARATORS)

    @property
    def is_values(self) -> bool:
        """Whether it may say, in long form, if a photo has a label."""
        if self.words.isdisjoint(VALUES) or not self.is_numbers:
            return False
        return all(0 <= float(text) <= 1 for text in self.distinct)

    @property
    def is_label_cells(self) -> bool:
        """Whether its cells may hold labels: by its name, as lists, or as names of several rows."""
        if self.is_bits:
            return False
        repeats = len(self.distinct) < len(self.texts)
        return self.is_named_labels or bool(self.contents) or (repeats and not self.is_numbers)

    @property
    def has_blanks(self) -> bool:
        """Whether they stand in cells that are no lists."""
        return any(" " in text.strip() for text in self._plain)

    @cached_property
    def _plain(self) -> list[str]:
        return [text for text in self.distinct if not _is_structured(text)]

    def separator(self) -> str | None:
        """What stands between the labels of a cell; None: nothing does."""
        plain = [text for text in self._plain if text.strip().casefold() not in NO_FINDING]
        for sign in SEPARATORS:
            if any(sign in text for text in plain):
                return sign
        pieces = {piece for text in plain for piece in text.split()}
        if not any(" " in text.strip() for text in plain):
            return None
        # Of labels separated by blanks, many sets are made of few names; of names of several
        # words, fewer names than words.
        return None if len(plain) > 2 and len(pieces) > len(plain) else " "


def _is_structured(text: str) -> bool:
    try:
        return not isinstance(structured(text), str)
    except ValueError:
        return False

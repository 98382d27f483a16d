"""What the cells of a table say of a photo's labels.

A cell is text, or what JSON, Parquet or Excel hold. Text that is a list or a dictionary, as Python
or JSON write them, is read as such; what is neither names nor a list of names is refused.
"""

import ast
import io
import json
import math
import re
import tokenize
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

# What pandas reads as missing (https://pandas.pydata.org/docs/reference/api/pandas.read_csv.html).
MISSING = frozenset("#N/A <NA> N/A NA NULL NaN None n/a nan null".split())
KEPT = 100_000  # cells whose meaning is kept; most tables repeat few
BRACKETS = {("[", "]"), ("{", "}"), ("(", ")")}

Scalar = str | int | float | bool


class Labels(NamedTuple):
    """What is known of a photo's labels.

    Attributes:
        names: those it has; None where they are not known.
        unknown: those of which it is not known whether it has them.
    """

    names: list[str] | None
    unknown: tuple[str, ...] = ()


NOT_KNOWN = Labels(None)
EMPTY = Labels([])  # of a cell that is there and holds no text


class Values:
    """What a value says: True (the photo has the label), False, or None (it is not known).

    Args:
        positive, negative, unknown: values that say so, whatever case and type they are in; the
            empty text stands for cells without any. None is in two of these.
        bounds: numbers up to the first say no, those from the second on yes, and those between
            are not known; None: no other numbers than those above.
    """

    def __init__(
        self,
        positive: Iterable[Scalar],
        negative: Iterable[Scalar],
        unknown: Iterable[Scalar],
        bounds: tuple[float, float] | None = None,
    ) -> None:
        says: list[tuple[Iterable[Scalar], bool | None]]
        says = [(positive, True), (negative, False), (unknown, None)]
        self._says = {normal(value): state for values, state in says for value in values}
        self._bounds = bounds

    def __call__(self, cell: Any) -> bool | None:
        """What ``cell`` says.

        Raises:
            ValueError: it says nothing of all this; the text is what it is, and what it may be.
        """
        if isinstance(cell, str | int | float) or cell is None:
            value = normal(cell)
            if value in self._says:
                return self._says[value]
            if _is_missing(cell):
                return self._says.get("")
            if self._bounds and (number := _number(value)) is not None:
                return False if number <= self._bounds[0] else number >= self._bounds[1] or None
        raise ValueError(
            f"{short(cell)}, which is in none of ingest.table.positive, negative and unknown"
        )


def normal(value: Scalar | None) -> str:
    """One text for all ways of writing a value: 1, 1.0, "1.00 ", True and "TRUE"."""
    if value is None:
        return ""
    text = str(value).strip().lower()
    number = {"true": 1.0, "false": 0.0}.get(text, _number(text))
    return text if number is None else f"{number:.15g}"


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _is_missing(cell: Any) -> bool:
    if isinstance(cell, str):
        return not cell.strip() or cell.strip() in MISSING
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def short(cell: Any) -> str:
    """``cell`` for a message."""
    text = repr(cell)
    return text if len(text) <= 60 else f"{text[:57]}…"


class OneHot:
    """Reads the cells of one-hot columns.

    Args:
        names: of the columns, which are the labels.
    """

    def __init__(self, names: Sequence[str], values: Values) -> None:
        # Most of them are all zeros and ones.
        self._names, self._values = names, lru_cache(KEPT)(values)

    def __call__(self, cells: tuple[Any, ...]) -> Labels:
        """What ``cells``, one a column, say.

        Raises:
            ValueError: says which column holds what is no value.
        """
        states = []
        for name, cell in zip(self._names, cells, strict=True):
            try:
                states.append(self._values(cell))
            except ValueError as error:
                raise ValueError(f"column {name} is {error}") from error
            except TypeError as error:  # a list or a dictionary
                raise ValueError(f"column {name} is {short(cell)}, no value of a label") from error
        return _of_states(self._names, states)


def _of_states(names: Iterable[str], states: Sequence[bool | None]) -> Labels:
    if states and all(state is None for state in states):
        return NOT_KNOWN
    pairs = list(zip(names, states, strict=True))
    unknown = tuple(name for name, state in pairs if state is None)
    return Labels([name for name, state in pairs if state], unknown)


class LabelCell:
    """Reads the cell of a column that holds all labels of a photo.

    Args:
        column: its name, for messages.
        separator: between the names in text; None: blanks of any kind.
        values: what the values of a dictionary say.
        numbered: the names of numbered labels, that of 0 first; None where cells hold names.
        asked: for dictionaries, the labels that are unknown where one says nothing of them.
        are_bits: whether zeros and ones are bits where they cannot be labels, each once.
    """

    def __init__(
        self,
        column: str,
        separator: str | None,
        values: Values,
        numbered: Sequence[str] | None = None,
        asked: Sequence[str] = (),
        *,
        are_bits: bool = True,
    ) -> None:
        self._column, self._separator, self._values = column, separator, values
        self._numbered, self._asked, self._are_bits = numbered, asked, are_bits

    def __call__(self, cell: Any) -> Labels:
        """What ``cell`` says; a cell that is missing: nothing.

        Raises:
            ValueError: it is neither names, nor a list of names, nor a dictionary of values.
        """
        if isinstance(cell, str) and not cell.strip():
            return EMPTY
        if _is_missing(cell):
            return NOT_KNOWN
        content = structured(cell) if isinstance(cell, str) else cell
        if isinstance(content, dict):
            return self._dictionary(content)
        if isinstance(content, str):
            content = [piece.strip() for piece in content.split(self._separator)]
            if MISSING.issuperset(filter(None, content)):
                return NOT_KNOWN
        elif isinstance(content, int) and not isinstance(content, bool) and self._numbered:
            content = [content]
        if not isinstance(content, list | tuple | set):
            raise self._refused(cell)
        return Labels(self._names(cell, list(content)))

    def _names(self, cell: Any, content: list[Any]) -> list[str]:
        are_texts = {*map(type, content)} <= {str}
        if not are_texts or "" in content or not MISSING.isdisjoint(content):
            content = [each for each in content if not _is_missing(each)]
            are_texts = {*map(type, content)} <= {str}
        if self._numbered is not None:
            return self._by_number(cell, content)
        names = [each.strip() for each in content] if are_texts else []
        bits = self._are_bits and {*names} <= {"0", "1"} and len({*names}) < len(names)
        if not are_texts or bits:  # as names, none would stand twice
            raise self._refused(cell)
        return names

    def _by_number(self, cell: Any, content: list[Any]) -> list[str]:
        names = self._numbered or ()
        try:
            numbers = [int(each) for each in content if int(each) == float(each)]
        except (TypeError, ValueError) as error:
            raise self._refused(cell) from error
        if not set(numbers) <= set(range(len(names))) or len(numbers) < len(content):
            raise ValueError(
                f"column {self._column} is {short(cell)}, which are no numbers of the "
                f"{len(names)} ingest.table.names, from 0"
            )
        could_be_bits = len(numbers) == len(names) and set(numbers) <= {0, 1}
        truths = {*map(type, content)} == {bool}
        could_be_bits = could_be_bits and (truths or self._are_bits)
        if could_be_bits and (truths or len(names) > 2):  # as numbers, one would stand twice
            return [name for name, bit in zip(names, numbers, strict=True) if bit]
        if len(set(numbers)) < len(numbers) or (could_be_bits and len(names) == 2) or truths:
            raise ValueError(
                f"column {self._column} is {short(cell)}, which is no list of numbers of labels, "
                f"each once, nor {len(names)} bits, one for each of ingest.table.names"
            )
        return [names[number] for number in numbers]

    def _dictionary(self, content: dict[Any, Any]) -> Labels:
        states = []
        for name, value in content.items():
            try:
                states.append(self._values(value))
            except ValueError as error:
                raise ValueError(f"column {self._column} says that {name!r} is {error}") from error
        if not all(isinstance(name, str) for name in content):
            raise self._refused(content)
        labels = _of_states(content, states)
        others = tuple(name for name in self._asked if name not in content)
        return labels._replace(unknown=labels.unknown + others) if labels != NOT_KNOWN else labels

    def _refused(self, cell: Any) -> ValueError:
        return ValueError(
            f"column {self._column} is {short(cell)}, neither names nor a list of names; numbers "
            "or bits need their names in ingest.table.names"
        )


def structured(text: str) -> Any:
    """The list or dictionary that ``text`` writes down, in JSON or Python; or ``text`` itself.

    Raises:
        ValueError: it begins and ends as one, or as bytes, but cannot be read.
    """
    text = text.strip()
    if (text[:1], text[-1:]) not in BRACKETS and not re.fullmatch("b('.*'|\".*\")", text):
        return text
    plain = "'" in text and '"' not in text and "\\" not in text
    try:
        # Python's writing, where it differs from JSON's in quotes alone: far faster than its own.
        return json.loads(text.replace("'", '"') if plain else text)
    except ValueError:
        pass
    try:
        content = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        if text[0] == "(":  # (so) called, (so) written
            return text
        raise ValueError(
            f"{short(text)} looks like a list or a dictionary, but is neither in Python nor in "
            "JSON; put quotes around its names, and commas between them"
        ) from error
    # As NumPy prints an array, without commas: Python makes one text of what stands side by side.
    if isinstance(content, list | tuple | set) and _texts(text) > len(content):
        raise ValueError(f"{short(text)} has no commas between its names")
    return content


def keys(cell: Any) -> list[str]:
    """The names in a dictionary, written down or not; none of other cells."""
    if isinstance(cell, str):
        try:
            cell = structured(cell)
        except ValueError:
            return []
    return [str(name) for name in cell] if isinstance(cell, dict) else []


def _texts(source: str) -> int:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return sum(token.type == tokenize.STRING for token in tokens)


class Kept:
    """``function`` of many cells; what it gives for a cell is kept for those that are the same.

    Args:
        function: may raise a ValueError, but not give None.
    """

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function
        self._results: dict[Hashable, Any] = {}
        self._has_faults = False

    def __call__(self, cells: Sequence[Any], faults: dict[int, str]) -> list[Any]:
        """What ``function`` gives for each of the ``cells``.

        Adds to ``faults`` by the cell's place what it raised; what is given there does not count.
        """
        if len(self._results) > KEPT:
            self._results.clear()
        hashable = [tuple(cell) if cell.__class__ is list else cell for cell in cells]
        try:
            results = list(map(self._results.get, hashable))
        except TypeError:  # a dictionary, or one in a list
            results = [self._made(cell) for cell in cells]
        else:
            for place, result in enumerate(results):
                if result is None:
                    results[place] = self._results[hashable[place]] = self._made(cells[place])
        if self._has_faults:
            for place, result in enumerate(results):
                if isinstance(result, ValueError):
                    faults.setdefault(place, str(result))
        return results

    def _made(self, cell: Any) -> Any:
        try:
            return self._function(cell)
        except ValueError as error:
            self._has_faults = True
            return error

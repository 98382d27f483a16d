"""What ones, blanks and numbers in the cells of labels mean."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from experiments.look.columns import Column
from experiments.look.index import Index
from stages.ingest.sources import read_text

Option = tuple[Any, str]  # and a word on it
MOST = 10_000  # labels; larger numbers are something else
NAMES_OF_CLASSES = ("classes.txt", "labels.txt", "names.txt", "obj.names")


class Numbered(NamedTuple):
    """The option ``names``, and what is in doubt with it."""

    option: Option
    doubts: list[str]


def meanings(values: frozenset[str]) -> tuple[dict[str, Option], list[str]]:
    """What the ``values`` of one-hot columns mean, where it is not what ``params.yaml`` has."""
    if "-1" not in values:
        if "" not in values or "0" in values:
            return {}, []
        options: dict[str, Option] = {
            "negative": ([0, False, ""], "no cell holds 0, so one that is empty means no"),
            "unknown": ([], "as an empty cell means no"),
        }
        other = "negative: [0, false], unknown: ['']"
        return options, [f"if an empty cell means that nobody knows: ingest.table: {other}"]
    if values <= {"1", "-1"}:
        return {"negative": ([-1], "cells hold 1 or −1")}, []
    unsure: dict[str, Option] = {"unknown": ([-1], "−1 stands beside other ways to say no")}
    if "" not in values:
        return unsure, ["if −1 means no: ingest.table: {negative: [0, -1], unknown: ['']}"]
    negative = {"negative": ([0, ""], "−1 is what is uncertain, so an empty cell means no")}
    return negative | unsure, [
        "if an empty cell means that nobody knows: ingest.table: {negative: [0], unknown: ['', -1]}"
    ]


def numbered(column: Column, separator: str | None, index: Index) -> Numbered | None:
    """The names of the numbers or bits in the cells of ``column``; None where it holds names.

    They are those of a file of classes, if there is one of as many lines; else the numbers.
    """
    if column.is_numbered:
        return None
    count = max(map(_count, _numbers(column, separator)), default=0)
    if not 0 < count <= MOST:
        return None
    for file in index.with_suffix(*NAMES_OF_CLASSES):
        names = [line.strip() for line in read_text(index.root, file).splitlines() if line.strip()]
        if len(names) >= count:
            return Numbered((names, f"{file} names as many"), [])
    names = [str(number) for number in range(count)]
    return Numbered(
        (names, "its cells hold numbers, which need names"),
        [f"labels of {column.name} are numbers: write their names, that of 0 first, in "
         "ingest.table.names"],
    )  # fmt: skip


def _numbers(column: Column, separator: str | None) -> Iterator[list[int]]:
    """The cells that are numbers of labels, or bits; texts are only where names they cannot be."""
    for cell in column.contents:
        if isinstance(cell, list | tuple) and cell and {*map(type, cell)} <= {int, bool}:
            yield [*cell]
    yield from ([cell] for cell in column.cells if type(cell) is int)
    for text in column.distinct:
        pieces = [piece.strip() for piece in text.split(separator)]
        if {*pieces} <= {"0", "1"} and len({*pieces}) < len(pieces):
            yield [*map(int, pieces)]


def _count(numbers: list[int]) -> int:
    """How many names there are, at the least."""
    are_bits = {*numbers} <= {0, 1} and len({*numbers}) < len(numbers)
    return len(numbers) if are_bits else max(numbers) + 1

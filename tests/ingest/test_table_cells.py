"""What cells of labels say, and which are refused."""

import math
from typing import Any

import pytest

from stages.ingest.tables.cells import NOT_KNOWN, Kept, LabelCell, OneHot, Values

VALUES = Values([1, True], [0, False], [""])


def read(cell: Any, separator: str = ",", **more: Any) -> Any:
    return LabelCell("labels", separator, VALUES, **more)(cell)


@pytest.mark.parametrize(
    "cell",
    [
        "cat, big dog",
        "['cat', 'big dog']",
        '["cat", "big dog"]',
        "['cat',\n 'big dog']",
        "('cat', 'big dog')",
        '[ "cat" , null, "big dog", NaN ]',
        "['cat', None, \"big dog\"]",
        ["cat", None, " big dog ", ""],
        ["cat", math.nan, "big dog", "nan"],
        "{'cat': 1, 'eel': 0, 'big dog': True}",
        '{"cat": "1", "big dog": "TRUE", "eel": false}',
        {"cat": 1.0, "eel": "0", "big dog": 1},
    ],
)
def test_names_however_they_are_listed(cell: Any):
    assert read(cell) == (["cat", "big dog"], ())


@pytest.mark.parametrize("cell", ["[]", "()", "{}", "", "  ", [], "[ ]", [""]])
def test_empty_lists(cell: Any):
    assert read(cell) == ([], ())


@pytest.mark.parametrize("cell", ["nan", "NaN", "None", "null", "<NA>", None, math.nan, "nan,nan"])
def test_missing_cells(cell: Any):
    assert read(cell) == NOT_KNOWN


@pytest.mark.parametrize("cell", ["it's, (so) called, a [b] c", '"a", it\'s'])
def test_texts_that_only_look_alike(cell: str):
    assert read(cell).names == [name.strip() for name in cell.split(",")]


@pytest.mark.parametrize(
    "cell",
    [
        "0,1,1",
        "[0, 1, 1]",
        [0, 1, 1],
        [3, 17],
        "[3, 17]",
        "['cat' 'dog']",  # NumPy's
        "[cat, dog]",
        "[['cat'], ['dog']]",
        "b'cat'",
        b"cat",
        1.5,
        True,
        {"cat": "furry"},
        {"cat": [1]},
        [{"name": "cat"}],
        "{1: 1}",
    ],
)
def test_what_is_neither_names_nor_a_list_of_them(cell: Any):
    with pytest.raises(ValueError, match=r"labels|commas"):
        read(cell)


@pytest.mark.parametrize(
    ("cell", "names"),
    [
        ([2, 0], ["eel", "cat"]),
        ("[2, 0]", ["eel", "cat"]),
        ("2,0", ["eel", "cat"]),
        (1, ["dog"]),
        ("1", ["dog"]),
        ("1,0,1", ["cat", "eel"]),
        ([0, 0, 0], []),
        ([True, False, True], ["cat", "eel"]),
        ([], []),
    ],
)
def test_numbers_and_bits_with_names(cell: Any, names: list[str]):
    assert read(cell, numbered=["cat", "dog", "eel"]) == (names, ())


@pytest.mark.parametrize("cell", [[3], "cat", [0, 0], [-1], "0.5", [True, False]])
def test_numbers_that_have_no_name(cell: Any):
    with pytest.raises(ValueError, match="labels"):
        read(cell, numbered=["cat", "dog", "eel"])


def test_two_numbers_that_could_be_two_bits():
    with pytest.raises(ValueError, match="bits"):
        read([0, 1], numbered=["cat", "dog"])
    assert read([1], numbered=["cat", "dog"]).names == ["dog"]


def test_a_dictionary_knows_some():
    assert read({"cat": 1, "dog": None, "eel": 0}) == (["cat"], ("dog",))
    assert read("{'cat': 0}", asked=["cat", "dog"]) == ([], ("dog",))
    assert read({"cat": None, "dog": ""}) == NOT_KNOWN


@pytest.mark.parametrize(
    ("cell", "state"),
    [
        *[(cell, True) for cell in (1, "1.00 ", "X", True, 0.7, "0.71")],
        *[(cell, False) for cell in (0, "False", -0.0, "0.2", "", None, math.nan, "NaN")],
        *[(cell, None) for cell in (-1, "-1.0", 0.5)],
    ],
)
def test_values(cell: Any, state: bool | None):
    assert Values([1, "x"], [0, ""], [-1], (0.2, 0.7))(cell) is state


@pytest.mark.parametrize("cell", [2, "maybe", [1], math.inf, "inf"])
def test_values_that_say_nothing(cell: Any):
    with pytest.raises(ValueError, match="positive"):
        VALUES(cell)


def test_one_hot_cells():
    read = OneHot(["cat", "dog"], VALUES)
    assert read((1, "")) == (["cat"], ("dog",))
    assert read((None, "")) == NOT_KNOWN
    assert read((0, 0)) == ([], ())
    with pytest.raises(ValueError, match="column dog is 'x'"):
        read((1, "x"))
    with pytest.raises(ValueError, match="column cat is"):
        read(([1], 0))


def test_what_is_kept_is_what_is_read():
    read = Kept(LabelCell("labels", " ", VALUES))
    cells = ["cat dog", ["cat"], {"cat": 1}, "[0, 1]", None, "cat dog", "[0, 1]"]
    for _ in range(2):
        faults: dict[int, str] = {}
        results = read(cells, faults)
        assert [results[at].names for at in (0, 1, 2, 4, 5)] == [
            ["cat", "dog"], ["cat"], ["cat"], None, ["cat", "dog"]
        ]  # fmt: skip
        assert sorted(faults) == [3, 6]

"""Results as people and programs read them."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from stages.network.probabilities import read_label_names
from tagloom import results
from tagloom.results import Answers, writer

LABELS = ["dog", "cat", "bus"]
FOUND = np.array([[0.25, 0.875, 0.5], [0.125, 0.0625, 0.0]], np.float32)
HOLDS = FOUND >= 0.25
NAMES = ["photos/a.jpg", "photos/Ä,\n\x1b[31m.jpg"]


def written(
    form: results.Format, top: int | None = None, labels: list[str] = LABELS, parts: int = 2
) -> str:
    file = io.TextIOWrapper(io.BytesIO(), "utf-8", newline="\n")
    with writer(form, None, file, labels, top) as out:
        for part in np.array_split(np.arange(2), parts):
            out.write(Answers([NAMES[n] for n in part], FOUND[part], HOLDS[part]))
    return file.buffer.getvalue().decode()


def test_a_table_has_a_line_a_photo_and_no_codes_for_the_terminal():
    first, second = written("table", parts=1).splitlines()
    assert first == "photos/a.jpg             cat 0.88, bus 0.50, dog 0.25"
    assert second == "photos/Ä,\\n\\x1b[31m.jpg  –"


def test_with_top_labels_that_do_not_hold_stand_in_brackets():
    first, second = written("table", top=2, parts=1).splitlines()
    assert first.endswith("  cat 0.88, bus 0.50")
    assert second.endswith("  (dog 0.12), (cat 0.06)")


def test_csv_has_a_column_a_label():
    assert list(csv.reader(io.StringIO(written("csv"), newline=""))) == [
        ["photo", "labels", "probability of dog", "probability of cat", "probability of bus"],
        [NAMES[0], "dog cat bus", "0.25", "0.875", "0.5"],
        [NAMES[1], "", "0.125", "0.0625", "0.0"],
    ]


def test_csv_with_top_has_columns_for_so_many():
    header, first, _ = csv.reader(io.StringIO(written("csv", top=2), newline=""))
    assert header == ["photo", "labels", "label 1", "probability 1", "label 2", "probability 2"]
    assert first == [NAMES[0], "dog cat bus", "cat", "0.875", "bus", "0.5"]
    header, first, _ = csv.reader(io.StringIO(written("csv", top=9), newline=""))
    assert len(header) == len(first) == 8


def test_labels_that_hold_blanks_are_parted_otherwise():
    rows = csv.reader(io.StringIO(written("csv", labels=["hot dog", "cat", "bus"]), newline=""))
    assert [row[1] for row in rows] == ["labels", "hot dog|cat|bus", ""]


@pytest.mark.parametrize("parts", [1, 2])
def test_json_is_one_array_with_a_line_a_photo(parts: int):
    text = written("json", parts=parts)
    assert len(text.splitlines()) == 4
    assert json.loads(text) == [
        {
            "photo": NAMES[0],
            "labels": LABELS,
            "probabilities": {"dog": 0.25, "cat": 0.875, "bus": 0.5},
        },
        {
            "photo": NAMES[1],
            "labels": [],
            "probabilities": {"dog": 0.125, "cat": 0.0625, "bus": 0.0},
        },
    ]


def test_json_with_top_has_the_most_probable_first():
    first, _ = json.loads(written("json", top=2))
    assert list(first["probabilities"].items()) == [("cat", 0.875), ("bus", 0.5)]


def test_nothing_is_still_json_and_csv():
    for form, expected in (("json", []), ("csv", "photo,labels")):
        file = io.TextIOWrapper(io.BytesIO(), "utf-8")
        with writer(form, None, file, LABELS, None):
            pass
        text = file.buffer.getvalue().decode()
        assert json.loads(text) == expected if form == "json" else text.startswith(expected)


def test_parquet_is_exact_and_as_the_stages_write_it(in_tmp: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(results, "PART", 3)  # so that there are several parts
    path = Path("new/folder/labels.parquet")
    with writer("parquet", path, None, LABELS, None) as out:
        for _ in range(5):
            out.write(Answers(NAMES, FOUND, HOLDS))
    table = pl.read_parquet(path)
    assert table.columns == ["photo", "labels", "probabilities"]
    assert table["photo"].to_list() == NAMES * 5
    assert table["labels"].to_list() == [LABELS, []] * 5
    assert (table["probabilities"].to_numpy() == np.tile(FOUND, (5, 1))).all()
    assert read_label_names(path) == LABELS
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_parquet_without_a_photo_has_its_columns(in_tmp: Path):
    with writer("parquet", Path("a.parquet"), None, LABELS, None):
        pass
    assert pl.read_parquet("a.parquet").shape == (0, 3)


@pytest.mark.parametrize("form", ["table", "csv", "json", "parquet"])
def test_a_file_is_written_whole_or_not_at_all(form: results.Format, in_tmp: Path):
    Path("out").write_text("before")
    with pytest.raises(ZeroDivisionError), writer(form, Path("out"), None, LABELS, None) as out:
        out.write(Answers(NAMES, FOUND, HOLDS))
        raise ZeroDivisionError
    assert [each.name for each in Path().iterdir()] == ["out"]
    assert Path("out").read_text() == "before"


def test_a_terminal_of_few_letters_gets_the_others_escaped():
    file = io.TextIOWrapper(io.BytesIO(), "ascii")
    with writer("csv", None, file, LABELS, None) as out:
        out.write(Answers(["Ä.jpg"], FOUND[:1], HOLDS[:1]))
    assert b"\\xc4.jpg,dog cat bus" in file.buffer.getvalue()

"""What a person sees first: labels, their photos, columns, and what is probably a mistake."""

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from stages.ingest import summary
from stages.ingest.sources import kaggle_csv

LISTS = pl.List(pl.String)


@pytest.fixture
def told(
    in_tmp: Path,
    photo: Callable[..., bytes],
    ingest: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., list[str]]:
    """Runs the stage on ``raw/photos.csv``, whose rows are of 0.jpg, 1.jpg, …; what it says."""
    (in_tmp / "raw/photos").mkdir(parents=True)
    (in_tmp / "raw/photos/0.jpg").write_bytes(photo())

    def run(text: str, options: dict[str, Any] | None = None, **keys: Any) -> list[str]:
        (in_tmp / "raw/photos.csv").write_text(text)
        for number in range(1, text.count("\n")):
            target = in_tmp / f"raw/photos/{number}.jpg"
            if not target.exists():
                os.link(in_tmp / "raw/photos/0.jpg", target)
        ingest("table", options, **keys)
        first, *lines = capsys.readouterr().out.splitlines()
        assert "photos, " in first
        return [line.removeprefix("ingest: ") for line in lines]

    return run


def rows(*labels: str, header: str = "id,labels") -> str:
    return "\n".join([header, *(f"{number}.jpg,{each}" for number, each in enumerate(labels)), ""])


def counted() -> dict[str, tuple[str, str]]:
    with Path("metrics/ingest/labels.csv").open(newline="") as file:
        return {row["label"]: (row["photos"], row["known"]) for row in csv.DictReader(file)}


def figures() -> dict[str, Any]:
    return json.loads(Path("metrics/ingest.json").read_text())


def test_few_labels_are_all_named_with_their_photos(told: Callable[..., list[str]]) -> None:
    table = rows("cat,train", "cat dog,train", "cat dog,train", ",train", ",test")
    lines = told(table.replace("id,labels", "id,labels,part"), {"subset": "part"})
    assert lines == [
        "2 labels and their photos: cat (3), dog (2)",
        "photos without a label: 1; whose labels are not known: 1",
        "columns taken as labels: labels; not used: none",
    ]
    assert counted() == {"cat": ("3", "4"), "dog": ("2", "4")}
    assert figures()["photos_without_label"] == figures()["photos_with_unknown_labels"] == 1
    assert figures()["label_warnings"] == 0


def test_of_many_labels_five_at_each_end_are_named(told: Callable[..., list[str]]) -> None:
    # Label 12 is on 14 photos, 11 on 13, … 0 on 2.
    lines = told(rows(*(" ".join(map(str, range(max(0, n - 1), 13))) for n in range(14)), ""))
    assert lines[0] == (
        "13 labels and their photos: 12 (14), 11 (13), 10 (12), 9 (11), 8 (10) … "
        "4 (6), 3 (5), 2 (4), 1 (3), 0 (2); metrics/ingest/labels.csv has all"
    )
    assert list(counted()) == [str(number) for number in range(13)]
    assert counted()["7"] == ("9", "15")


def test_no_label_at_all(told: Callable[..., list[str]]) -> None:
    assert told(rows("", ""))[:2] == [
        "no photo carries a label",
        "photos without a label: 2; whose labels are not known: 0",
    ]
    assert counted() == {}


def test_columns_that_are_labels_and_those_that_are_not(told: Callable[..., list[str]]) -> None:
    table = "id,cat,width,dog,note,text\n" + "".join(
        f"{n}.jpg,1,640,{n % 2},x,y\n" for n in range(4)
    )
    *_, columns, _ = told(table, {"labels": ["cat", "dog"], "caption": "text"})
    assert columns == "columns taken as labels: cat, dog; not used: width, note"
    assert figures()["columns"] == {"labels": "cat, dog", "unused": "width, note"}
    table = "id,text,is_valid,dog\n" + "".join(f"{n}.jpg,y,{n // 2},{n % 2}\n" for n in range(4))
    columns = told(table, {"labels": None, "caption": "text"})[-1]
    assert columns == "columns taken as labels: is_valid, dog; not used: none"
    frame = pl.DataFrame({"id": ["0.jpg", "1.jpg"], "tags": [["a"], ["a", "b"]], "size": [3, 4]})
    frame.write_parquet("raw/photos.parquet")
    lines = told("", {"file": "photos.parquet", "labels": "tags", "caption": None})
    assert "columns taken as labels: tags; not used: size" in lines


def test_what_is_known_of_labels_one_by_one() -> None:
    table = pl.LazyFrame(
        {
            "labels": [["a"], ["a", "b"], [], None, []],
            "unknown": [["b", "c"], None, ["c"], None, None],
        },
        {"labels": LISTS, "unknown": LISTS},
    )
    assert summary.count_labels(table, ["c", "b", "a", "d"]).rows() == [
        ("c", 0, 2), ("b", 1, 3), ("a", 2, 4), ("d", 0, 4),
    ]  # fmt: skip


def test_partly_known_photos_are_told(
    told: Callable[..., list[str]],
    ingest: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    told(rows("a", "b", "a b"))
    Path("raw/train.csv").write_text(
        Path("raw/photos.csv").read_text().replace("id,l", "ImageID,L")
    )
    listed = kaggle_csv.rows
    monkeypatch.setattr(
        kaggle_csv, "rows", lambda *each: (row._replace(unknown=["b"]) for row in listed(*each))
    )
    ingest("kaggle-csv", {"test": None, "photos": "photos"})
    assert "not known: 0; of whose labels some are not known: 1" in (capsys.readouterr().out)
    # Where the photo has the label, it is known.
    assert counted() == {"a": ("2", "3"), "b": ("2", "2")}


def counts(*names: str, **photos: int) -> pl.DataFrame:
    """Of ten photos; each of the labels ``names`` is on five."""
    every = dict.fromkeys(names, 5) | photos
    return pl.DataFrame({"label": list(every), "photos": list(every.values()), "known": 10})


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (counts("cat,dog", "dog"), ": 'cat,dog'; set ingest.table.separator"),
        (counts("['Action'", "'Drama']", "Action"), ": \"['Action'\", \"'Drama']\"; set"),
        (counts("'Action'", '"Drama"', "7' tall", "x"), ": \"'Action'\", '\"Drama\"'; set"),
        (counts("{cat}", "cat"), ": '{cat}';"),
        (counts("cat;dog", "a"), ": 'cat;dog';"),
        (counts("cat", "dog", "cat/dog"), "beside '/' in them: 'cat/dog'; set"),
        (
            counts("cat", "dog", "cat & dog", "R&B", "dog&cat"),
            "'&' in them: 'cat & dog', 'dog&cat';",
        ),
        (counts("cat", "dog", "cat dog"), "' ' in them: 'cat dog';"),
        (counts("Cat", "dog", "cat", "CAT"), "Cat = cat = CAT; if they mean the same"),
        (counts("traffic light", "Traffic_light", "a-b", "a b"), "Traffic_light, a-b = a b"),
        (
            counts("0", "1"),
            "rather answers: 0, 1; set ingest.table.labels",
        ),
        (counts("True", "False"), "rather answers: True, False;"),
        (counts("cat", dog=1, owl=1), "on one photo only: dog, owl;"),
        (counts("cat", dog=10), "on every photo: dog; nothing"),
        (counts("cat", dgo=0), "on no photo: dgo; spell them in ingest.labels"),
        (counts("cat", **{f"rare{n}": 1 for n in range(12)}), "rare3, rare4 and 7 more;"),
    ],
)
def test_what_is_most_likely_a_mistake_is_said(labels: pl.DataFrame, said: str) -> None:
    [warning] = summary.doubts(labels, "table")
    assert said in warning


@pytest.mark.parametrize(
    "labels",
    [
        counts("cat", "dog"),
        counts(*map(str, range(10))),
        counts("fire truck", "traffic light", "T-shirt", "shirt", "R&B", "C", "C++", "C#"),
        counts("-1", "1", "2"),
        counts("Mädchen", "Madchen", "7' tall", "rock 'n' roll", "rock"),
        counts("person", "person/head", "person/arm"),
        counts(),
    ],
)
def test_usual_names_are_no_mistake(labels: pl.DataFrame) -> None:
    assert summary.doubts(labels, "table") == []


def test_the_remedy_is_that_of_the_source() -> None:
    for source, remedy in {
        "kaggle-csv": "set ingest.source to table, and ingest.table.separator",
        "coco-json": "ingest.rename",
    }.items():
        [warning] = summary.doubts(counts("cat,dog", "owl"), source)
        assert remedy in warning


def test_a_label_that_is_known_of_one_photo_is_not_said_to_be_on_every_photo() -> None:
    labels = pl.DataFrame({"label": ["cat", "dog"], "photos": [5, 1], "known": [10, 1]})
    [warning] = summary.doubts(labels, "table")
    assert "on one photo only: dog;" in warning


def test_warnings_are_printed_last_and_counted(told: Callable[..., list[str]]) -> None:
    *_, first, second = told(rows("'cat;dog'", "Cat", "cat Cat", "cat", "'cat;dog'"))
    assert first.startswith("warning: labels that may be several in one")
    assert second.startswith("warning: labels that differ only in case")
    assert figures()["label_warnings"] == 2


def test_the_sample_has_nothing_to_warn_of(
    ingest: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    ingest("digits", {"train": 150, "test": 10})
    assert "warning" not in capsys.readouterr().out
    assert figures()["label_warnings"] == 0
    assert "columns" not in figures()

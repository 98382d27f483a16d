"""What labels are called: alike in every source, in parameters and in corrections."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from stages import UserError
from stages.ingest import naming, records
from stages.ingest.sources import kaggle_csv

COMPOSED, APART = "Mädchen", "Ma\u0308dchen"  # NFC, NFD
TABLE = {"file": "photos.csv"}
COCO = {"instances": "instances.json"}


@pytest.fixture
def folder(in_tmp: Path, photo: Callable[..., bytes]) -> Path:
    """Three photos of two kinds of girls; each test writes the files that say so."""
    (in_tmp / "raw/photos").mkdir(parents=True)
    for number in range(3):
        (in_tmp / f"raw/photos/{number}.jpg").write_bytes(photo(number))
    return in_tmp / "raw"


def instances(*names: str) -> str:
    """COCO's file: photo 0 has the first category, 1 the second, 2 both."""
    return json.dumps(
        {
            "images": [{"id": id, "file_name": f"{id}.jpg"} for id in range(3)],
            "categories": [{"id": id, "name": name} for id, name in enumerate(names)],
            "annotations": [
                {"image_id": image, "category_id": category}
                for image, category in [(0, 0), (1, 1), (2, 0), (2, 1)]
            ],
        }
    )


@pytest.mark.parametrize(
    ("source", "options", "files"),
    [
        (
            "kaggle-csv",
            {"test": None, "photos": "photos"},
            {"train.csv": f"ImageID,Labels\n0.jpg,{COMPOSED}\n1.jpg,{APART}\n"
             f"2.jpg,{APART} {COMPOSED}\n"},
        ),
        (
            "class-files",
            {"lists": "lists", "photos": "photos"},
            {f"lists/{COMPOSED}.txt": "0\n2\n", f"lists/ {APART} .txt": "1\n2\n"},
        ),
        (
            "table",
            TABLE | {"separator": ";"},
            {"photos.csv": f"id,labels\n0.jpg, {COMPOSED}\n1.jpg,{APART}\n"
             f"2.jpg,{APART};{COMPOSED}\u00a0\n"},
        ),
        (
            "table",
            TABLE | {"labels": None},
            {"photos.csv": f"id,{COMPOSED} ,{APART}\n0.jpg,1,0\n1.jpg,0,1\n2.jpg,1,1\n"},
        ),
        ("coco-json", COCO | {"photos": "photos"}, {"instances.json": instances(COMPOSED, APART)}),
        ("coco-json", COCO, {"instances.json": instances(f"\t{COMPOSED}", f" {COMPOSED}\n")}),
    ],
)  # fmt: skip
def test_names_that_look_alike_are_one(
    folder: Path,
    ingest: Callable[..., None],
    source: str,
    options: dict[str, Any],
    files: dict[str, str],
) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    for allowed in (None, [f" {APART}"]):
        ingest(source, {"photos": "photos"} | options, labels=allowed)
        assert records.read()["labels"].to_list() == [[COMPOSED]] * 3
        assert records.read_label_names() == [COMPOSED]


def test_what_is_not_known_has_clean_names_too(
    folder: Path, ingest: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "train.csv").write_text(f"ImageID,Labels\n0.jpg,{COMPOSED}\n1.jpg,cat\n2.jpg,\n")
    listed = kaggle_csv.rows
    unknown = {"0.jpg": [APART], "1.jpg": [f"{APART} ", COMPOSED]}
    monkeypatch.setattr(
        kaggle_csv,
        "rows",
        lambda *each: (row._replace(unknown=unknown.get(row.id, ())) for row in listed(*each)),
    )
    ingest("kaggle-csv", {"test": None, "photos": "photos"})
    assert records.read().select("labels", "unknown").rows() == [
        ([COMPOSED], None), (["cat"], [COMPOSED]), ([], None),
    ]  # fmt: skip


def test_corrections_name_labels_as_people_type_them(
    folder: Path, ingest: Callable[..., None]
) -> None:
    (folder / "photos.csv").write_text(f"id,labels\n0.jpg,{COMPOSED}\n1.jpg,{APART}\n2.jpg,\n")
    Path("data/corrections").mkdir(parents=True)
    Path("data/corrections/a.csv").write_text(
        f"id,labels\n0.jpg,{APART}\n1.jpg,\n2.jpg, {APART} |{COMPOSED}\n"
    )
    ingest("table")
    assert records.read()["labels"].to_list() == [[COMPOSED], [], [COMPOSED]]
    assert json.loads(Path("metrics/ingest.json").read_text())["corrections"] == {
        "applied": 3, "changed": 2, "set_aside": 0,
    }  # fmt: skip


REFUSED = {
    "cat|dog": "holds |",
    "cat\ndog": "'cat\\ndog' holds a line break",
    "cat\u2028dog": "line break",
    "cat\x85dog": "line break",
    "cat\x07": "control character",
    "cat\ud800": "'cat\\ud800' holds",
    "": "empty",
}


@pytest.mark.parametrize(("name", "reason"), REFUSED.items())
def test_names_that_no_label_can_have(name: str, reason: str) -> None:
    assert reason in str(naming.fault(name))
    with pytest.raises(UserError, match=r"^list\.txt: .*label"):
        naming.check(["good", f" {name} "], "list.txt")


@pytest.mark.parametrize(
    "name", ["fire truck", "T-shirt", "a/b", "नहीं", "न\u200cहीं", "👩\u200d🚀", "0"]
)
def test_names_of_all_the_world(name: str) -> None:
    assert naming.fault(naming.clean(f"\u3000{name}\n")) is None
    naming.check([name], "list.txt")


def test_a_cell_with_such_a_name_sets_its_row_aside(
    folder: Path, ingest: Callable[..., None]
) -> None:
    (folder / "photos.csv").write_text('id,labels\n0.jpg,cat|dog\n1.jpg,"cat;do\ng"\n2.jpg,dog\n')
    ingest("table", {"separator": ";"}, max_rejected=0.9)
    assert records.read()["id"].to_list() == ["2.jpg"]
    with Path("data/rejected.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["row"], first["photo"]) == ("2", "photos/0.jpg")
    assert "'cat|dog' holds |" in first["reason"]
    assert second["row"] == "3" and "'do\\ng' holds a line break" in second["reason"]
    table = pl.DataFrame({"id": ["0.jpg", "2.jpg"], "labels": [["a|b", "dog"], ["dog"]]})
    table.write_parquet(folder / "photos.parquet")
    ingest("table", {"file": "photos.parquet"}, max_rejected=0.9)
    assert records.read()["id"].to_list() == ["2.jpg"]


@pytest.mark.parametrize(
    ("source", "options", "file", "text"),
    [
        ("table", TABLE | {"labels": None}, "photos.csv", "id,dog,cat|tom\n0.jpg,1,0\n1.jpg,1,0"),
        ("coco-json", COCO | {"photos": "photos"}, "instances.json", instances("dog", "cat|tom")),
        ("class-files", {"lists": "lists", "photos": "photos"}, "lists/cat|tom.txt", "1\n"),
    ],
)
def test_a_column_a_category_or_a_list_with_such_a_name_is_an_error(
    folder: Path,
    ingest: Callable[..., None],
    source: str,
    options: dict[str, Any],
    file: str,
    text: str,
) -> None:
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).write_text(text)
    where = f"raw/{Path(file).parts[0]}"
    with pytest.raises(UserError) as error:
        ingest(source, options, max_rejected=1)
    assert str(error.value).startswith(where)
    assert "the label 'cat|tom' holds |" in str(error.value)


def test_predictions_stand_apart_from_names_with_any_blank() -> None:
    assert records.separator(["cat", "dog"]) == " "
    assert records.separator(["cat", "fire truck"]) == "|"
    assert records.separator(["cat", "fire\u00a0truck"]) == "|"

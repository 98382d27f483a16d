"""The shapes of tables that docs/data.md lists, each as a small file and the lines that read it."""

import gzip
import io
import json
import sys
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from ruamel.yaml import YAML

from stages import UserError
from stages.ingest.sources import Row, Unreadable
from stages.ingest.sources.table import Options, columns, rows
from tests.conftest import ROOT

OPTIONS: dict[str, Any] = YAML(typ="safe").load(ROOT / "params.yaml")["ingest"]["table"]


def options(**more: Any) -> Options:
    return Options(**OPTIONS | more)


def read(root: Path, content: str | bytes, file: str = "photos.csv", **more: Any) -> list[Row]:
    (root / file).write_bytes(content.encode() if isinstance(content, str) else content)
    listed = list(rows(root, options(**{"file": file} | more)))
    assert all(isinstance(row, Row) for row in listed), listed
    return listed  # type: ignore[return-value]


def labels(listed: list[Row]) -> dict[str, list[str] | None]:
    return {row.id: row.labels for row in listed}


def test_python_lists(tmp_path: Path):
    table = "id,genre\n1.jpg,\"['Action', 'Drama']\"\n2.jpg,[]\n3.jpg,nan\n"
    listed = read(tmp_path, table, labels="genre")
    assert labels(listed) == {"1.jpg": ["Action", "Drama"], "2.jpg": [], "3.jpg": None}


def test_chexpert(tmp_path: Path):
    table = """Path,Sex,Age,No Finding,Edema,Fracture
CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg,Female,68,1.0,,
CheXpert-v1.0-small/train/patient00002/study2/view1_frontal.jpg,Male,87,,-1.0,1.0
CheXpert-v1.0-small/train/patient00002/study1/view1_frontal.jpg,Male,83,0.0,0.0,
"""
    how = {"id": "Path", "labels": None, "exclude": ["Sex", "Age"], "photos": "."}
    listed = read(tmp_path, table, **how, negative=[0, ""], unknown=[-1])
    assert [row.labels for row in listed] == [["No Finding"], ["Fracture"], []]
    assert [row.unknown for row in listed] == [(), ("Edema",), ()]
    assert listed[1].photo.endswith("/train/patient00002/study2/view1_frontal.jpg")
    taken, left = columns(tmp_path, options(file="photos.csv", **how))
    assert (taken, left) == (["No Finding", "Edema", "Fracture"], ["Sex", "Age"])

    listed = read(tmp_path, table, **how, unknown=["", -1])
    assert [row.unknown for row in listed] == [
        ("Edema", "Fracture"), ("No Finding", "Edema"), ("Fracture",)
    ]  # fmt: skip


def test_columns_of_minus_one(tmp_path: Path):
    table = "image_id Smiling  Young\n000001.jpg -1  1\n000002.jpg  1 -1\n"
    listed = read(tmp_path, table, id="image_id", labels=None, negative=[-1])
    assert labels(listed) == {"000001.jpg": ["Young"], "000002.jpg": ["Smiling"]}


def test_open_images(tmp_path: Path):
    table = """ImageID,Source,LabelName,Confidence
0001,verification,/m/011k07,1
0001,verification,/m/0284d,0
0002,machine,/m/0284d,0.9
0001,machine,/m/019nj4,0.5
0003,machine,/m/019nj4,0.1
"""
    how = {"id": "ImageID", "labels": "LabelName", "long": True, "value": "Confidence"}
    listed = read(tmp_path, table, **how, pattern="{id}.jpg", bounds=[0.2, 0.8])
    assert labels(listed) == {"0001": ["/m/011k07"], "0002": ["/m/0284d"], "0003": []}
    assert [row.unknown for row in listed] == [("/m/019nj4",), (), ()]
    assert [(row.row, row.photo) for row in listed] == [
        (2, "photos/0001.jpg"), (4, "photos/0002.jpg"), (6, "photos/0003.jpg")
    ]  # fmt: skip

    listed = read(tmp_path, table, **how, bounds=[0.2, 0.8], absent="unknown")
    assert [set(row.unknown) for row in listed] == [
        {"/m/019nj4"}, {"/m/011k07", "/m/019nj4"}, {"/m/011k07", "/m/0284d"}
    ]  # fmt: skip


def test_a_row_for_each_photo_and_label(tmp_path: Path):
    table = """photo,tag,split,who
a.jpg,big dog,train,ann
b.jpg,,valid,bob
a.jpg,cat,train,ann
c.jpg,,test,bob
a.jpg,cat,train,ann
d.jpg,cat,dunno,ann
d.jpg,dog,train,ann
e.jpg,cat,train,ann
e.jpg,dog,train,bob
"""
    (tmp_path / "photos.csv").write_text(table)
    how = {"id": "photo", "labels": "tag", "long": True, "subset": "split", "group": "who"}
    good = {row.id: row for row in rows(tmp_path, options(**how)) if isinstance(row, Row)}
    bad = [row for row in rows(tmp_path, options(**how)) if isinstance(row, Unreadable)]
    assert {id: row.labels for id, row in good.items()} == {
        "a.jpg": ["big dog", "cat"], "b.jpg": [], "c.jpg": None
    }  # fmt: skip
    assert [row.part for row in good.values()] == ["train", "validation", None]
    assert [row.group for row in good.values()] == ["ann", "bob", "bob"]
    assert [row.row for row in bad] == [7, 9]
    assert "'dunno'" in bad[0].reason
    assert "e.jpg differ in group: ann, bob" in bad[1].reason


TRAIN = "photo,label,value,text\n1,cat,1,a\n1,dog,0,a\n2,dog,1,b\n"
PARTS = {"validation": "val-*.csv", "test": ["test.csv"], "caption": "text", "file": "train.csv"}


def test_files_of_parts(tmp_path: Path):
    (tmp_path / "train.csv").write_text(TRAIN)
    (tmp_path / "val-1.csv").write_text("photo,label,value,text\n3,cat,1,c\n")
    (tmp_path / "val-2.csv").write_text("photo,label,value,text\n4,dog,0,\n")
    (tmp_path / "test.csv").write_text("photo,text\n5,e\n6,\n")
    how = {"id": "photo", "labels": "label", "long": True, "value": "value"}
    listed = list(rows(tmp_path, options(**PARTS | how)))
    assert [(row.id, row.labels, row.subset, row.part, row.caption) for row in listed] == [
        ("1", ["cat"], "train", "train", "a"),
        ("2", ["dog"], "train", "train", "b"),
        ("3", ["cat"], "train", "validation", "c"),
        ("4", [], "train", "validation", None),
        ("5", None, "test", None, "e"),
        ("6", None, "test", None, None),
    ]


@pytest.mark.parametrize("test", ["id,text,width\n3,c,9\n", "id,a,b,text\n3,,,c\n"])
@pytest.mark.parametrize("labels", [None, ["a", "b"]])
def test_one_hot_files_of_parts(tmp_path: Path, test: str, labels: list[str] | None):
    (tmp_path / "train.csv").write_text("id,a,b,text\n1,1,0,x\n")
    (tmp_path / "val-1.csv").write_text("id,a,b,text\n2,0,1,y\n")
    (tmp_path / "test.csv").write_text(test)
    one, two, three = rows(tmp_path, options(labels=labels, **PARTS))
    assert (one.labels, one.part, two.labels, two.part) == (["a"], "train", ["b"], "validation")
    assert (three.labels, three.subset, three.caption) == (None, "test", "c")


def test_labels_of_test_photos_count(tmp_path: Path):
    (tmp_path / "train.csv").write_text("id,labels\n1,cat\n")
    (tmp_path / "test.csv").write_text("id,labels\n2,cat\n3,\n")
    one, two, three = rows(tmp_path, options(file="train.csv", test="test.csv"))
    assert (one.part, two.labels, two.subset, three.labels) == (None, ["cat"], "test", None)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"subset": "part", "validation": "val.csv"}, "subset and ingest.table.validation both"),
        ({"subset": "part", "test": "test.csv"}, "subset and ingest.table.test both"),
        ({"test": "t*.csv"}, "train.csv is named for two parts, train and test"),
        ({"validation": "val-2.csv"}, "val-2.csv"),
    ],
)
def test_parts_that_cannot_be(tmp_path: Path, more: dict[str, str], message: str):
    (tmp_path / "train.csv").write_text("id,labels\n1,cat\n")
    with pytest.raises((UserError, ValueError), match=message):
        list(rows(tmp_path, options(**{"file": "train.csv"} | more)))


def test_a_row_that_cannot_be_read_costs_its_photo_once(tmp_path: Path):
    table = "id,labels,value\n1,cat,maybe\n1,dog,1\n2,dog,1\n1,eel,perhaps\n,eel,1\n"
    (tmp_path / "photos.csv").write_text(table)
    bad, other, without, two = rows(tmp_path, options(long=True, value="value"))
    assert (bad.row, other.row, without.row) == (2, 5, 6)
    assert (bad.costs_photo, other.costs_photo, without.costs_photo) == (True, False, True)
    assert (two.id, two.labels) == ("2", ["dog"])


def test_given_parts_groups_and_times(tmp_path: Path):
    table = """id,labels,split,patient,taken
1.jpg,cat,train,7,2024-05-31
2.jpg,cat,VAL,8,2024-05-31T18:30:00+02:00
3.jpg,,test,,
"""
    how = {"subset": "split", "group": "patient", "time": "taken"}
    one, two, three = read(tmp_path, table, **how)
    assert [row.subset for row in (one, two, three)] == ["train", "train", "test"]
    assert [row.part for row in (one, two, three)] == ["train", "validation", None]
    assert [row.group for row in (one, two, three)] == ["7", "8", None]
    assert (one.time, three.time) == (datetime(2024, 5, 31), None)
    assert two.time is not None
    assert two.time.astimezone(UTC) == datetime(2024, 5, 31, 16, 30, tzinfo=UTC)
    without = table.replace("VAL", "train")
    assert [row.part for row in read(tmp_path, without, **how)] == [None] * 3

    (tmp_path / "photos.csv").write_text(table.replace("2024-05-31\n", "31.5.2024\n"))
    first, *_ = rows(tmp_path, options(**how))
    assert isinstance(first, Unreadable)
    assert "time is not in ISO 8601" in first.reason


@pytest.mark.parametrize("pattern", ["{id}.jpg", "{stem}.jpg"])
def test_photos_in_several_folders(tmp_path: Path, pattern: str):
    for photo in ("images_001/a.jpg", "images_002/b.JPG", "images_002/sub/c.jpg"):
        (tmp_path / photo).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / photo).touch()
    suffix = "" if pattern == "{id}.jpg" else ".dcm"
    table = "".join(f"{id}{suffix},cat\n" for id in ("a", "b", "sub/c", "d"))
    for photos in ("images_*", ["images_001", "images_002"]):
        listed = read(tmp_path, f"id,labels\n{table}", photos=photos, pattern=pattern)
        assert [row.photo for row in listed] == [
            "images_001/a.jpg", "images_002/b.JPG", "images_002/sub/c.jpg", "images_001/d.jpg"
        ]  # fmt: skip
    with pytest.raises(UserError, match=r"fits img_\*"):
        read(tmp_path, f"id,labels\n{table}", photos="img_*")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("packed", [False, True])
def test_encodings_and_delimiters_are_found(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    encoding: str,
    delimiter: str,
    packed: bool,
):
    table = "id,labels,caption\n1.jpg,Bär,naïve\n2.jpg,Mühe,a\n".replace(",", delimiter)
    content = table.encode(encoding)
    file = "photos.csv.gz" if packed else "photos.csv"
    listed = read(tmp_path, gzip.compress(content) if packed else content, file, caption="caption")
    assert labels(listed) == {"1.jpg": ["Bär"], "2.jpg": ["Mühe"]}
    assert listed[0].caption == "naïve"
    assert ("photos.csv" in capsys.readouterr().out) == (encoding == "cp1252")


def test_text_in_an_encoding_that_is_not_found(tmp_path: Path):
    content = "id,labels\n1.jpg,Медведь\n".encode("cp1251")
    assert labels(read(tmp_path, content, encoding="cp1251")) == {"1.jpg": ["Медведь"]}
    with pytest.raises(UserError, match=r"photos.csv is not utf-8 text.*encoding"):
        read(tmp_path, content, encoding="utf-8")
    with pytest.raises(UserError, match=r"neither UTF-8.*ingest.table.encoding"):
        read(tmp_path, b"id,labels\n1.jpg,\x81\n")
    with pytest.raises(UserError, match=r"cannot be unpacked"):
        read(tmp_path, b"id,labels\n", "photos.csv.gz")


def test_json_lines(tmp_path: Path):
    lines = [
        {"id": "1.jpg", "tags": ["cat", "dog"], "caption": "both"},
        {"id": "2.jpg", "tags": {"cat": True, "dog": None}},
        {"id": "3.jpg", "tags": []},
        {"id": "4.jpg", "tags": None},
        {"id": 5},
    ]
    content = "\n\n".join(map(json.dumps, lines))
    for file, packed in (
        ("a.jsonl", content.encode()),
        ("a.ndjson.gz", gzip.compress(content.encode())),
    ):
        listed = read(tmp_path, packed, file, labels="tags", caption="caption")
        assert [row.labels for row in listed] == [["cat", "dog"], ["cat"], [], None, None]
        assert [row.unknown for row in listed] == [(), ("dog",), (), (), ()]
        assert [(row.id, row.row) for row in listed][3:] == [("4.jpg", 7), ("5", 9)]
        assert [row.caption for row in listed][:2] == ["both", None]


def test_json_lines_that_are_none(tmp_path: Path):
    more = "\n".join(['{"id": "1", "cat": 1}'] * 1000)
    lines = ['{"id": "1", "cat": 1}', '{"id": "2"', "[1]", more, '{"id": "3", "cat": 0, "dog": 1}']
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    how = options(file="a.jsonl", labels=None, duplicates="first")
    bad = [row for row in rows(tmp_path, how) if isinstance(row, Unreadable)]
    assert [row.row for row in bad] == [2, 3, 1004]
    assert "dog" in bad[2].reason


def workbook(rows: list[list[str | float | bool | None]]) -> bytes:
    """An Excel file of one sheet, the least that is one (ECMA-376)."""

    def cell(value: str | float | bool | None, place: str) -> str:
        if value is None:
            return ""
        if isinstance(value, str):
            return f'<c r="{place}" t="inlineStr"><is><t>{value}</t></is></c>'
        kind = "b" if isinstance(value, bool) else "n"
        return f'<c r="{place}" t="{kind}"><v>{value:d}</v></c>'

    lines = "".join(
        f'<row r="{row}">{"".join(map(cell, values, (f"{at}{row}" for at in "ABCDE")))}</row>'
        for row, values in enumerate(rows, 1)
    )
    at, parts = "http://schemas.openxmlformats.org", "application/vnd.openxmlformats-officedocument"
    links = f"{at}/officeDocument/2006/relationships"
    link = f'<Relationship Id="r" Type="{links}/{{}}" Target="{{}}"/>'
    files = {
        "[Content_Types].xml": f'<Types xmlns="{at}/package/2006/content-types"><Default '
        'Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/b.xml" ContentType="{parts}.spreadsheetml.sheet.main+xml"/>'
        f'<Override PartName="/s.xml" ContentType="{parts}.spreadsheetml.worksheet+xml"/></Types>',
        "_rels/.rels": link.format("officeDocument", "xl/workbook.xml"),
        "xl/_rels/workbook.xml.rels": link.format("worksheet", "s.xml"),
        "xl/workbook.xml": f'<workbook xmlns="{at}/spreadsheetml/2006/main" xmlns:r="{links}">'
        '<sheets><sheet name="photos" sheetId="1" r:id="r"/></sheets></workbook>',
        "xl/s.xml": f'<worksheet xmlns="{at}/spreadsheetml/2006/main"><sheetData>{lines}'
        "</sheetData></worksheet>",
    }
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            if name.endswith(".rels"):
                of = f"{at}/package/2006/relationships"
                archive.writestr(name, f'<Relationships xmlns="{of}">{content}</Relationships>')
            else:
                archive.writestr(name, content)
    return stream.getvalue()


def test_excel(tmp_path: Path):
    rows = [["id", "labels", None, "sure"], [1, "cat dog", 0, True], [2, None, 1, False],
            [3, "[]", 2, True]]  # fmt: skip
    listed = read(tmp_path, workbook(rows), "photos.xlsx", pattern="{id}.jpg")
    assert labels(listed) == {"1": ["cat", "dog"], "2": [], "3": []}
    assert [row.row for row in listed] == [2, 3, 4]
    hot = read(tmp_path, workbook(rows), "photos.xlsx", labels=None, exclude=["labels"])
    assert labels(hot) == {"1": ["sure"], "2": [], "3": ["sure"]}


def test_excel_that_is_none(tmp_path: Path):
    with pytest.raises(UserError, match=r"photos\.xlsx cannot be read as Excel"):
        read(tmp_path, b"id,labels", "photos.xlsx")


def test_excel_without_its_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "fastexcel", None)
    with pytest.raises(UserError, match=r"photos\.xlsx.*pip install 'tagloom\[excel\]'"):
        read(tmp_path, workbook([["id", "labels"]]), "photos.xlsx")


def test_dictionaries_of_a_parquet_file(tmp_path: Path):
    cells = [{"cat": 1, "dog": 0}, {"cat": None, "dog": 1}, None]
    pl.DataFrame({"id": ["1", "2", "3"], "labels": cells}).write_parquet(tmp_path / "a.parquet")
    listed = list(rows(tmp_path, options(file="a.parquet")))
    assert [row.labels for row in listed] == [["cat"], ["dog"], None]
    assert [row.unknown for row in listed] == [(), ("cat",), ()]


def test_dictionaries_that_name_what_they_were_asked(tmp_path: Path):
    table = 'id,labels\n1,"{""cat"": 1}"\n2,"{\'dog\': 0}"\n'
    assert [row.unknown for row in read(tmp_path, table)] == [(), ()]
    assert [row.unknown for row in read(tmp_path, table, absent="unknown")] == [("dog",), ("cat",)]


FEATURES = {"info": {"features": {
    "labels": {"feature": {"names": ["cat", "dog", "eel"], "_type": "ClassLabel"}},
    "label": {"names": ["cat", "dog", "eel"], "_type": "ClassLabel"},
}}}  # fmt: skip


def test_hugging_face(tmp_path: Path, photo: Callable[..., bytes]):
    photos = [{"bytes": photo(seed), "path": f"{seed}.jpg"} for seed in range(300)]
    photos[1]["path"] = None
    table = pl.DataFrame({
        "image": photos,
        "labels": [[seed % 3, 2] if seed % 3 < 2 else [] for seed in range(300)],
        "label": [seed % 3 for seed in range(300)],
    })  # fmt: skip
    notes = {"huggingface": json.dumps(FEATURES)}
    table.write_parquet(tmp_path / "train-0.parquet", row_group_size=50, metadata=notes)
    how = {"file": "train-*.parquet", "image": "image", "id": None}
    listed = list(rows(tmp_path, options(**how)))
    assert [row.labels for row in listed[:3]] == [["cat", "eel"], ["dog", "eel"], []]
    assert [row.id for row in listed[:2]] == ["0.jpg", "train-0.parquet:2"]
    for number in (299, 0, 150, 149):
        row = listed[number]
        assert callable(row.photo)
        assert row.photo() == photos[number]["bytes"]

    single = list(rows(tmp_path, options(**how, labels="label")))
    assert [row.labels for row in single[:3]] == [["cat"], ["dog"], ["eel"]]
    named = list(rows(tmp_path, options(**how, labels="label", names=["a", "b", "c"])))
    assert [row.labels for row in named[:3]] == [["a"], ["b"], ["c"]]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (pl.List(pl.Int64), [[0, 1]]),
        (pl.List(pl.Boolean), [[True, False]]),
        (pl.Int32, [7]),
        (pl.Float64, [0.5]),
        (pl.Binary, [b"cat"]),
        (pl.Date, [datetime(2024, 1, 1)]),
        (pl.List(pl.Struct({"name": pl.String})), [[{"name": "cat"}]]),
        (pl.List(pl.List(pl.String)), [[["cat"]]]),
    ],
)
def test_a_column_of_another_type(tmp_path: Path, kind: pl.DataType, values: list[Any]):
    table = pl.DataFrame({"id": ["1"], "labels": pl.Series(values, dtype=kind)})
    table.write_parquet(tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"a.parquet: column labels holds"):
        list(rows(tmp_path, options(file="a.parquet")))


def test_photos_that_are_no_bytes(tmp_path: Path):
    pl.DataFrame({"image": ["a.jpg"], "labels": ["x"]}).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"a.parquet: column image holds String"):
        list(rows(tmp_path, options(file="a.parquet", image="image", id=None)))


def test_several_files(tmp_path: Path):
    for number in (1, 2, 10):
        (tmp_path / f"part-{number}.csv").write_text(f"id,cat,dog\n{number}.jpg,1,0\n")
    listed = list(rows(tmp_path, options(file="part-*.csv", labels=None)))
    assert [(row.file, row.id) for row in listed] == [
        ("part-1.csv", "1.jpg"), ("part-10.csv", "10.jpg"), ("part-2.csv", "2.jpg")
    ]  # fmt: skip
    (tmp_path / "more.jsonl").write_text('{"id": "x.jpg", "dog": 1, "cat": 0}')
    listed = list(rows(tmp_path, options(file=["more.jsonl", "part-1.csv"], labels=None)))
    assert [row.labels for row in listed] == [["dog"], ["cat"]]

    (tmp_path / "part-3.csv").write_text("id,cat,eel\n3.jpg,1,0\n")
    with pytest.raises(UserError, match=r"part-3.csv .*only one has dog, eel"):
        list(rows(tmp_path, options(file="part-*.csv", labels=None)))
    with pytest.raises(UserError, match=r"fits none-\*"):
        list(rows(tmp_path, options(file="none-*.csv")))


def test_columns_that_are_no_labels(tmp_path: Path):
    table = ",id,cat,sex,age,is_valid\n0,1.jpg,1,F,0,True\n1,2.jpg,0,M,31,True\n"
    (tmp_path / "photos.csv").write_text(table)
    with pytest.raises(UserError) as error:
        list(rows(tmp_path, options(labels=None)))
    assert "sex (which holds 'F')" in str(error.value)
    assert "ingest.table.exclude" in str(error.value)
    assert "age" not in str(error.value)  # a row of it can be a label's
    how = options(labels=None, exclude=["sex", "age", "is_valid"])
    assert columns(tmp_path, how) == (["cat"], ["column 1", "sex", "age", "is_valid"])
    assert [row.labels for row in rows(tmp_path, how)] == [["cat"], []]
    chosen = options(labels=["cat", "is_valid"])
    assert columns(tmp_path, chosen) == (["cat", "is_valid"], ["column 1", "sex", "age"])
    with pytest.raises(UserError, match=r"no column 'xes'; it has column 1, id, cat"):
        list(rows(tmp_path, options(labels=None, exclude=["xes"])))


TWICE = "id,cat,dog\n1.jpg,1,0\n2.jpg,0,0\n./1.jpg,0,1\n3.jpg,1,1\n"


def test_two_rows_of_a_photo(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(UserError, match=r"1 times.*1.jpg, row 4, which photos.csv has in row 2"):
        read(tmp_path, TWICE, labels=None)
    listed = read(tmp_path, TWICE, labels=None, duplicates="merge")
    assert labels(listed) == {"2.jpg": [], "1.jpg": ["cat", "dog"], "3.jpg": ["cat", "dog"]}
    assert "1 photos had several rows" in capsys.readouterr().out
    listed = read(tmp_path, TWICE, labels=None, duplicates="first")
    assert [row.id for row in listed] == ["1.jpg", "2.jpg", "1.jpg", "3.jpg"]


def test_rows_of_a_photo_that_contradict_each_other(tmp_path: Path):
    table = "id,labels,caption,who\n1,cat,a,x\n1,dog,b,x\n2,cat,,x\n2,cat,,y\n3,,c,x\n"
    (tmp_path / "photos.csv").write_text(table)
    how = options(duplicates="merge", caption="caption", group="who")
    one, two, three = rows(tmp_path, how)
    assert (one.labels, one.caption, one.row) == (["cat", "dog"], "a\nb", 2)
    assert isinstance(two, Unreadable)
    assert "rows 4, 5 of 2 differ in group: x, y" in two.reason
    assert (three.id, three.labels) == ("3", [])


def test_what_is_known_of_merged_rows(tmp_path: Path):
    table = "id,cat,dog\n1,1,\n1,,0\n2,,\n2,,\n3,,\n3,0,0\n"
    listed = read(tmp_path, table, labels=None, duplicates="merge")
    assert labels(listed) == {"1": ["cat"], "2": None, "3": []}
    assert [row.unknown for row in listed] == [(), (), ()]


@pytest.mark.parametrize(
    ("key", "more"),
    [
        ("pattern", {"pattern": "photo.jpg"}),
        ("exclude", {"exclude": ["a"]}),
        ("long", {"long": True, "labels": None}),
        ("value", {"value": "confidence"}),
        ("id", {"id": None}),
        ("bounds", {"bounds": [0.8, 0.2]}),
        ("image", {"image": "image", "long": True}),
        ("positive", {"positive": [1], "negative": ["1.0"]}),
    ],
)
def test_options_that_do_not_fit(key: str, more: dict[str, Any]):
    with pytest.raises(ValueError, match=rf"ingest\.table\.{key}"):
        options(**more)


def test_photos_in_cells_are_taken_in(
    in_tmp: Path, ingest: Callable[..., None], photo: Callable[..., bytes]
):
    (in_tmp / "raw").mkdir()
    photos = [{"bytes": photo(seed), "path": f"{seed}.jpg"} for seed in range(300)]
    photos[7]["bytes"] = None
    table = pl.DataFrame({"image": photos, "labels": [["cat"], ["dog"]] * 150})
    table.write_parquet(in_tmp / "raw" / "a.parquet")
    ingest("table", {"file": "a.parquet", "image": "image", "id": None})
    records = pl.read_parquet("data/records.parquet")
    assert len(records) == 299
    assert records["id"].head(8).to_list() == [f"{seed}.jpg" for seed in (0, 1, 2, 3, 4, 5, 6, 8)]
    assert "row 8 of" in Path("data/rejected.csv").read_text()

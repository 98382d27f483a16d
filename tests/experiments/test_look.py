"""Each shape of docs/data.md, recognised: what look proposes reads what the lines there read."""

import json
import os
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from PIL import Image
from ruamel.yaml import YAML
from typer.testing import CliRunner

from experiments.look import Look, lines, look
from experiments.look.base import base
from experiments.look.tables import PLAIN
from stages import UserError
from stages.ingest.addresses import is_address
from stages.ingest.label_rules import LabelRules
from stages.ingest.listing import list_rows
from stages.ingest.params import Ingest
from stages.ingest.sources import Row, kaggle_csv
from stages.ingest.sources import table as table_source
from tagloom.__main__ import app
from tests.conftest import ROOT
from tests.ingest import test_annotation_shapes as annotations
from tests.ingest import test_table_docs as tables
from tests.ingest.conftest import photo_of

BASE = base()
FACTS = ("subset", "part", "group", "time", "photo")


def listed(params: Ingest) -> dict[str, Any]:
    """What ingest lists: by id, its labels and all else that it says of a photo."""
    with tempfile.TemporaryDirectory() as folder:
        listing = list_rows(params, LabelRules(params), Path(folder))
        rows = listing.rows.scan().collect()
    said = {}
    for row in rows.to_dicts():
        names, unknown = listing.label_lists[row["label_list"]]
        photo = row["photo"] and row["photo"].removeprefix("./")
        facts = row | {"photo": photo}
        said[row["id"]] = (names and {*names}, {*unknown}, *(facts[name] for name in FACTS))
    return said


def params_of(ingest: dict[str, Any], root: Path) -> Ingest:
    source = ingest["source"]
    section = BASE["ingest"] | ingest | {"root": str(root)}
    section[source] = BASE["ingest"][source] | ingest[source]
    return Ingest.model_validate(section)


# Without photos here; and names of numbers, which no sample says.
UNTOLD = ("… all of one folder", "numbers or bits in a cell")


@pytest.mark.parametrize("row", tables.TABLES, ids=tables.NAMES)
def test_a_table_of_the_docs(in_tmp: Path, row: Any):
    (name,), _, lines = row
    tables.lay_out(row)
    expected = listed(tables.ingest(lines))
    for path in {path for *_, path in expected.values() if path and not is_address(path)}:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(photo_of())
    if name == UNTOLD[0]:
        with pytest.raises(UserError, match=r"no photos"):
            look(Path(), BASE)
        return
    found = look(Path(), BASE)
    if name == UNTOLD[1]:
        assert found.ingest["table"]["names"] == ["0", "1", "2"]
        assert any("ingest.table.names" in doubt for doubt in found.doubts)
        found.ingest["table"]["names"] = ["cat", "dog", "eel"]
    assert found.ingest["source"] == "table"
    assert listed(params_of(found.ingest, Path())) == expected


@pytest.mark.parametrize(
    ("shape", "make"),
    [*zip(annotations.SHAPES, annotations.MAKERS, strict=True)],
    ids=[*annotations.SHAPES],
)
def test_annotations_of_the_docs(in_tmp: Path, shape: str, make: Callable[[Any], Any]):
    make(annotations.Data(photo_of))
    root = Path("raw")
    found = look(root, BASE)
    assert found.ingest["source"] == annotations.SHAPES[shape]["source"]
    expected = listed(params_of(annotations.SHAPES[shape], root))
    assert listed(params_of(found.ingest, root)) == expected
    assert found.photos + found.test_photos == len(expected)


def table(text: str, *photos: str) -> Look:
    """What ``photos.csv`` with these lines, and photos, in the current folder are."""
    Path("photos.csv").write_text(text)
    for number, photo in enumerate(photos):
        Path(photo).parent.mkdir(parents=True, exist_ok=True)
        Path(photo).write_bytes(photo_of(number))
    return look(Path(), BASE)


TWO = ("p/1.jpg", "p/2.jpg")


@pytest.mark.parametrize(
    ("text", "expected", "doubt"),
    [
        ("id,a,b\n1.jpg,1,\n2.jpg,,1\n", {"negative": [0, False, ""], "unknown": []}, "['']"),
        ("id,a,b\n1.jpg,-1,0\n2.jpg,1,1\n", {"unknown": [-1]}, "negative: [0, -1]"),
        ("id,label\n1.jpg,1\n2.jpg,0\n", {"labels": None}, ""),
        ("id,is_valid,a,b\n1.jpg,1,0,1\n2.jpg,0,1,0\n", {"exclude": ["is_valid"]}, "is_valid"),
        ("id,person,b\n1.jpg,1,0\n2.jpg,0,1\n", {"labels": None}, ""),
        ("id,tags\n1.jpg,a; b\n2.jpg,c d\n", {"separator": ";"}, ""),
        ("id,tag\n1.jpg,No Finding\n2.jpg,Edema\n", {"separator": "|"}, ""),
        ("id,scene\n1.jpg,lake\n2.jpg,hill\n", {"labels": "scene"}, ""),
        ("id,tag,patient,site\n1.jpg,a,7,x\n2.jpg,b,7,y\n", {"group": "patient"}, "by site"),
        ("n,id,tag\n1,2.jpg,a\n2,1.jpg,b\n", {"id": "id"}, ""),
        ("id,tag\n1,a\n2,b\n", {"pattern": "{id}.jpg"}, ""),
        ("id,0,1\n1.jpg,1,0\n2.jpg,0,1\n", {"labels": None}, ""),
        ("id,tag\np\\1.jpg,a\np\\2.jpg,b\n", {"photos": "."}, ""),
        ("id,tag\n1.png,a\n2.png,b\n", {"pattern": "{stem}.jpg"}, ""),
    ],
)  # fmt: skip
def test_what_a_table_may_mean(in_tmp: Path, text: str, expected: dict[str, Any], doubt: str):
    found = table(text, *TWO)
    assert found.ingest["table"].items() >= expected.items()
    assert found.ingest["table"]["photos"] == expected.get("photos", "p")
    assert doubt in "\n".join(found.doubts)
    assert {f"ingest.table.{key}" for key in expected} <= found.reasons.keys()
    assert found.photos == len(listed(params_of(found.ingest, Path()))) == 2


def test_every_option_of_a_table_is_known():
    """Else a project's own value of it would hold for other photos."""
    assert table_source.Options.model_fields.keys() == {"file", "id", "labels", *PLAIN}


def test_what_a_project_has_set_for_other_photos(in_tmp: Path):
    found = table("id,tag\n1.jpg,a\n2.jpg,b\n", *TWO)
    own = {"caption": "text", "pattern": "{id}.png", "negative": [-1], "long": True}
    section = BASE["ingest"] | {"labels": ["x"], "table": BASE["ingest"]["table"] | own}
    again = look(Path(), BASE | {"ingest": section})
    assert again.ingest["labels"] is None
    assert again.ingest["table"].keys() - found.ingest["table"].keys() == own.keys()
    assert (again.labels, again.doubts) == (found.labels, found.doubts)


def test_two_columns_that_may_hold_the_labels(in_tmp: Path):
    found = table("id,tags,genre,x,y\n1.jpg,a,u,1,0\n2.jpg,b,v,0,1\n", *TWO)
    others = [section["table"]["labels"] for _, section in found.others]
    assert (found.ingest["table"]["labels"], others) == ("tags", [None, "genre"])
    assert "labels: genre" in " ".join("\n".join(lines(found)).split())


def test_tables_of_parts(in_tmp: Path):
    Path("test.csv").write_text("id,tag\n3.jpg,a\n")
    Path("train.csv").write_text("id,tag\n1.jpg,a\n")
    Path("val.csv").write_text("id,tag\n2.jpg,b\n")
    found = table("id,text\n1.jpg,A cat on a mat\n", *TWO, "q/3.jpg")
    section = found.ingest["table"]
    files = {"file": "train.csv", "validation": "val.csv", "test": "test.csv"}
    assert section == section | files | {"photos": ["p", "q"]}
    assert (found.photos, found.test_photos, found.labels) == (2, 1, {"a": 2, "b": 1})
    doubts = "\n".join(found.doubts)
    assert "photos.csv names photos, but no column of it can hold labels" in doubts


def test_a_table_of_test_photos_needs_no_labels(in_tmp: Path):
    Path("test.csv").write_text("id\n2.jpg\n")
    found = table("id,tags\n1.jpg,a\n", *TWO)
    section = found.ingest["table"]
    assert (section["file"], section["test"]) == ("photos.csv", "test.csv")
    assert "validation" not in section  # as in params.yaml
    assert (found.photos, found.test_photos) == (1, 1)
    assert "test.csv" not in "".join(found.doubts)


def test_tables_that_say_no_part_are_not_joined(in_tmp: Path):
    Path("others.csv").write_text("id,tags\n2.jpg,a\n")
    found = table("id,tags\n1.jpg,a\n", *TWO)
    assert found.ingest["table"]["file"] == "others.csv"
    assert "photos.csv: the columns of others.csv, but not read" in "".join(found.doubts)


def test_folders_say_more_than_what_rows_merely_share(in_tmp: Path):
    text = "id,camera\n1.jpg,x\n2.jpg,x\n3.jpg,y\n"
    found = table(text, "all/cat/1.jpg", "all/cat/2.jpg", "all/dog/3.jpg")
    assert found.labels == {"cat": 2, "dog": 1}
    ((_, other),) = found.others
    assert other["table"]["labels"] == "camera"


def test_a_few_photos_that_stand_twice_are_no_long_form(in_tmp: Path):
    rows = "".join(f"{number}.jpg,cat dog\n" for number in (*range(12), 3))
    found = table(f"id,tags\n{rows}", *(f"p/{number}.jpg" for number in range(12)))
    assert found.ingest["table"]["duplicates"] == "merge"
    assert found.labels == {"cat": 12, "dog": 12}


def test_photos_that_are_not_there_and_those_that_nothing_names(in_tmp: Path):
    text = "id,tag\n1.jpg,a\n2.jpg,b\n3.jpg,a\nq/4.jpg,a\n"
    doubts = "\n".join(table(text, *TWO, "p/5.jpg").doubts)
    assert "2 photos that are listed are not there, such as p/3.jpg" in doubts
    assert "2 of 4 rows would be set aside" in doubts
    assert "1 photos of the folder are not in what is read, such as p/5.jpg" in doubts


def test_a_photo_in_two_folders_is_read_and_one_in_none_is_not(in_tmp: Path):
    for name in ("cat/1.jpg", "dog/1.jpg", "cat/2.jpg", "dog/3.jpg", "dog/4.jpg", "5.jpg"):
        path = Path("raw", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(photo_of(int(path.stem)))
    found = look(Path("raw"), BASE)
    assert found.labels == {"dog": 3, "cat": 2}
    (doubt,) = [each for each in found.doubts if "not in what is read" in each]
    assert doubt == "1 photos of the folder are not in what is read, such as 5.jpg"


def test_boxes_without_names(in_tmp: Path):
    annotations.yolo(annotations.Data(photo_of))
    Path("raw/data.yaml").unlink()
    with pytest.raises(UserError, match=r"no data\.yaml that says names"):
        look(Path("raw"), BASE)


def test_files_of_coco_that_are_beside_each_other(in_tmp: Path):
    data = annotations.Data(photo_of)
    annotations.coco_with_validation(data)
    content = annotations.of_coco(9, "000000000009.jpg", cat=True)
    more = [{"id": number, "name": f"stuff {number}"} for number in range(90, 95)]
    content["categories"] = content["categories"] + more
    data.json("annotations/stuff_train2017.json", **content)
    data.photos("test2017/1.jpg")
    images = [{"id": 1, "file_name": "1.jpg"}]
    data.json("annotations/image_info_test2017.json", images=images, categories=[])
    data.json("annotations/instances_train2018.json", **content)
    found = look(Path("raw"), BASE)
    assert found.ingest["coco-json"]["instances"] == "annotations/instances_train2017.json"
    assert found.ingest["coco-json"]["test"] == "annotations/image_info_test2017.json"
    assert (found.photos, found.validation, found.test_photos, found.captions) == (2, 1, 1, 2)
    assert "not read: annotations/instances_train2018.json" in "\n".join(found.doubts)


@pytest.mark.parametrize("control", ["kind", "labels"])
def test_an_export_of_label_studio_in_json_min(in_tmp: Path, control: str):
    """One choice stands there as text, as the image and times do."""
    about = {"id": 1, "annotator": 1, "created_at": "2026-11-01T10:00:00.000000Z"}
    several = {"choices": ["cat", "dog"]} if control == "kind" else "dog"
    items = [
        {"image": "/data/upload/1/0f3c2b1a-1.jpg", control: several} | about,
        {"image": "/data/upload/1/0f3c2b1a-2.jpg", control: "cat"} | about,
    ]
    Path("export.json").write_text(json.dumps(items))
    Path("p").mkdir()
    for name in TWO:
        Path(name).write_bytes(photo_of())
    found = look(Path(), BASE)
    own = {"file": "export.json", "photos": "p", "labels": control}
    section = BASE["ingest"]["label-studio"] | found.ingest["label-studio"]
    assert section == BASE["ingest"]["label-studio"] | own
    assert found.labels == {"cat": 1 + (control == "kind"), "dog": 1}


@pytest.mark.parametrize(
    ("text", "photos", "words"),
    [
        ("1.jpg,a\n2.jpg,b\n", TWO, ["photos.csv begins with a photo"]),
        ("id,tag\nq/1.jpg,a\n", TWO, ["q/1.jpg", "p/1.jpg: correct the names"]),
        ("id,size\n1.jpg,7\n2.jpg,8\n", TWO, ["2 photos, in p (2), and photos.csv", "data.md"]),
        ("id,tags\n1.jpg,\n2.jpg,\n", TWO, ["no photo of it is there with a label"]),
        ("id,tag\n", (), ["holds no photos"]),
    ],
)
def test_a_folder_that_is_of_no_shape(
    in_tmp: Path, text: str, photos: tuple[str, ...], words: list[str]
):
    with pytest.raises(UserError) as error:
        table(text, *photos)
    assert [word for word in words if word not in str(error.value)] == []


def test_linked_and_packed_photos(in_tmp: Path):
    for name in ("linked", "packed"):
        (in_tmp / name).mkdir()
        (in_tmp / name / "tags.csv").write_text("id,tag\n1.jpg,a\n2.jpg,b\n")
    Path("p").mkdir()
    for name in ("1.jpg", "2.jpg"):
        Path("p", name).write_bytes(photo_of())
    Path("linked/here").symlink_to(Path("p").absolute())
    Path("linked/above").symlink_to(in_tmp)
    with zipfile.ZipFile("packed/all.zip", "w") as archive:
        archive.write("p/1.jpg", "in/1.jpg")
        archive.write("p/2.jpg", "in/2.jpg")
    linked, zipped = look(Path("linked"), BASE), look(Path("packed"), BASE)
    assert (linked.ingest["table"]["photos"], linked.sides) == ("here", (24, 16))
    assert (zipped.ingest["table"]["photos"], zipped.sides) == ("all.zip/in", None)
    assert zipped.photos == 2
    Path("packed/all.zip").unlink()
    with tarfile.open("packed/all.tar.gz", "w:gz") as tape:  # as tar -C p -czf all.tar.gz . does
        tape.add("p", ".")
    taped = look(Path("packed"), BASE)
    assert (taped.ingest["table"]["photos"], taped.photos) == ("all.tar.gz", 2)


def test_what_cannot_be_read_is_no_hindrance(in_tmp: Path, monkeypatch: pytest.MonkeyPatch):
    Path("b.csv").write_text("id,tag\n1.jpg,a\n")
    Path("c.parquet").write_bytes(b"PAR1")
    Path("d.jsonl").write_bytes(b"\x81")
    Path("e.json").write_text('{"images": [')
    Path("p").mkdir()
    for name in ("f.csv", "f.zip", "p/3.jpg"):
        os.mkfifo(name)
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: "b.csv" not in str(path))
    found = table("id,tag\n1.jpg,a\n2.jpg,b\n3.jpg,a\n", *TWO)
    monkeypatch.setattr(os, "access", access)
    assert found.ingest["table"]["file"] == "photos.csv"
    said = "\n".join(found.doubts)
    assert "1 of 3 photos cannot be read, such as 3.jpg: it is no file" in said
    for name in ("b.csv may not be read", "c.parquet cannot be read", "e.json is not JSON"):
        assert f"not read: {name}" in said


def test_numbers_that_parquet_names(in_tmp: Path):
    notes = {"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}
    image = [{"bytes": photo_of(seed), "path": f"{seed}.jpg"} for seed in range(4)]
    frame = pl.DataFrame({"image": image, "label": [0, 1, 1, 1]})
    for shard in (0, 1):
        name = f"train-0000{shard}-of-00002.parquet"
        frame[2 * shard :][:2].write_parquet(name, metadata={"huggingface": json.dumps(notes)})
    found = look(Path(), BASE)
    assert found.ingest["table"]["file"] == "train-*.parquet"
    assert (found.labels, found.sides) == ({"cat": 1, "dog": 3}, (24, 16))


def test_the_values_of_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with zipfile.ZipFile(tmp_path / "template.zip", "w") as archive:
        archive.write(ROOT / "params.yaml", "params.yaml")
    monkeypatch.setattr("experiments.look.base.PACKED", tmp_path / "template.zip")
    monkeypatch.setattr("experiments.look.base.ROOT", tmp_path)
    assert base() == BASE


def test_the_command(in_tmp: Path):
    table("id,tag\n1.jpg,a\n2.jpg,b\n", *TWO)
    before = {path: path.stat().st_mtime_ns for path in in_tmp.rglob("*")}
    done = CliRunner().invoke(app, ["look", "."])
    assert done.exit_code == 0
    proposed = YAML(typ="safe").load(done.stdout.partition("lines of params.yaml:\n")[2])
    section = look(Path(), BASE).ingest | {"root": "."}
    assert proposed == {"ingest": section}
    assert {path: path.stat().st_mtime_ns for path in in_tmp.rglob("*")} == before
    assert CliRunner().invoke(app, ["look", ".", "--sheet", "sheet.png"]).exit_code == 0
    with Image.open("sheet.png") as sheet:
        assert sheet.width > 300
    Path("photos.csv").unlink()
    failed = CliRunner().invoke(app, ["look", "."])
    assert (failed.exit_code, failed.stdout) == (1, "")
    assert "docs/data.md" in failed.stderr


@pytest.mark.shared
@pytest.mark.parametrize("shape", ["table", "coco-json", "folders"])
def test_real_photos(in_tmp: Path, shared: Path, shape: str):
    """200 of them with their labels and captions, as a newcomer may have them."""
    options = kaggle_csv.Options(train="train.csv", test=None, photos="data")
    rows = [each for each in kaggle_csv.rows(shared / "coco18", options) if isinstance(each, Row)]
    photos = {row.id: [f"label {each}" for each in row.labels or ()] for row in rows[:200]}
    for id, names in photos.items():
        folder = Path("birds", names[0] if shape == "folders" else "images")
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(shared / "coco18" / "data" / id, folder)
    if shape == "table":
        lines = [f"{id},{'|'.join(names)},A photo of things." for id, names in photos.items()]
        Path("birds/tags.csv").write_text("\n".join(["file,tags,caption", *lines]))
    if shape == "coco-json":
        every = sorted({name for names in photos.values() for name in names})
        content = {
            "images": [{"id": id, "file_name": id} for id in photos],
            "categories": [{"id": number, "name": name} for number, name in enumerate(every)],
            "annotations": [
                {"image_id": id, "category_id": every.index(name)}
                for id, names in photos.items()
                for name in names
            ],
        }
        Path("birds/labels.json").write_text(json.dumps(content))
    found = look(Path("birds"), BASE)
    known = {name: 0 for names in photos.values() for name in names}
    for names in photos.values():
        for name in names[:1] if shape == "folders" else names:
            known[name] += 1
    assert found.ingest["source"] == shape
    assert (found.photos, found.captions) == (200, 200 if shape == "table" else 0)
    assert found.labels == {name: count for name, count in known.items() if count}
    assert found.sides
    assert 200 < max(found.sides) <= 320

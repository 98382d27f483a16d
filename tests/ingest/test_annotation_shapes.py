"""Each row of docs/data.md on files of annotations: read with the lines that it gives."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from stages.ingest import records
from tests.conftest import ROOT

Labels = dict[str, tuple[str, list[str] | None]]  # part or subset, and labels, by id


def shapes() -> dict[str, dict[str, Any]]:
    """The options of each shape, by its name."""
    text = (ROOT / "docs" / "data.md").read_text("utf-8")
    section = text.partition("## Files of annotations")[2].partition("\n## ")[0]
    found = {}
    for row in re.findall(r"^\| (.+) \|$", section, re.MULTILINE)[1:]:
        name, _, lines = row.split(" | ")
        found[name] = YAML(typ="safe").load("\n".join(re.findall(r"`([^`]+)`", lines)))
    return found


SHAPES = shapes()
BOX = "0.479492 0.688771 0.955609 0.5955"


class Data:
    """Writes a data set below ``raw``."""

    def __init__(self, photo: Callable[..., bytes]) -> None:
        self._photo = photo
        self._seed = 0

    def photos(self, *names: str) -> None:
        for name in names:
            self._seed += 1
            self._write(name, self._photo(self._seed))

    def text(self, name: str, text: str) -> None:
        self._write(name, text.encode())

    def json(self, name: str, **content: Any) -> None:
        self.text(name, json.dumps(content))

    def _write(self, name: str, content: bytes) -> None:
        path = Path("raw", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


COCO = {"categories": [{"supercategory": "animal", "id": 17, "name": "cat"}]}


def of_coco(id: int, name: str, *, cat: bool) -> dict[str, Any]:
    annotation = {"id": 1, "image_id": id, "category_id": 17, "iscrowd": 0, "bbox": [1, 2, 3, 4]}
    image = {"license": 3, "file_name": name, "height": 480, "width": 640, "id": id}
    return COCO | {"images": [image], "annotations": [annotation] if cat else []}


def coco(data: Data) -> Labels:
    name = "000000000009.jpg"
    data.photos(f"train2017/{name}")
    data.json("annotations/instances_train2017.json", **of_coco(9, name, cat=True))
    return {name: ("train", ["cat"])}


def coco_with_validation(data: Data) -> Labels:
    expected = coco(data)
    name = "000000000139.jpg"
    data.photos(f"val2017/{name}")
    data.json("annotations/instances_val2017.json", **of_coco(139, name, cat=False))
    for part, id in (("train", 9), ("val", 139)):
        captions = [{"image_id": id, "id": 6, "caption": "A room."}]
        data.json(f"annotations/captions_{part}2017.json", images=[], annotations=captions)
    return expected | {name: ("validation", [])}


def coco_of_roboflow(data: Data) -> Labels:
    for number, part in enumerate(("train", "valid", "test")):
        data.photos(f"{part}/{part}.jpg")
        content = of_coco(0, f"{part}.jpg", cat=True)  # numbered anew in each file
        group = [{"id": 0, "name": "cat", "supercategory": "none"}]
        content["categories"] = [*group, *content["categories"]]
        data.json(f"{part}/_annotations.coco.json", **content | {"info": {"year": number}})
    given = ("train", "train"), ("valid", "validation"), ("test", "test")
    return {f"{name}.jpg": (part, ["cat"]) for name, part in given}


def coco_panoptic(data: Data) -> Labels:
    name = "000000000009.jpg"
    data.photos(f"train2017/{name}")
    content = of_coco(9, name, cat=False)
    segments = [{"id": 3226956, "category_id": 17, "iscrowd": 0, "area": 14434}]
    annotation = {"image_id": 9, "file_name": "000000000009.png", "segments_info": segments}
    data.json("annotations/panoptic_train2017.json", **content | {"annotations": [annotation]})
    return {name: ("train", ["cat"])}


def yolo(data: Data) -> Labels:
    data.text("data.yaml", "train: images/train\nval: images/val\nnames:\n  0: cat\n  1: dog\n")
    data.photos("images/train/1.jpg", "images/val/2.jpg")
    data.text("labels/train/1.txt", f"1 {BOX}\n0 {BOX}\n")
    data.text("labels/val/2.txt", "")
    return {
        "images/train/1.jpg": ("train", ["cat", "dog"]),
        "images/val/2.jpg": ("validation", []),
    }


def yolo_of_roboflow(data: Data) -> Labels:
    entries = {"train": "train", "val": "valid", "test": "test"}
    lines = [f"{key}: ../{folder}/images" for key, folder in entries.items()]
    data.text("data.yaml", "\n".join([*lines, "", "nc: 2", "names: ['cat', 'dog']"]))
    for folder in entries.values():
        data.photos(f"{folder}/images/a.jpg")
        data.text(f"{folder}/labels/a.txt", f"1 {BOX}\n")
    parts = {"train": "train", "valid": "validation", "test": "test"}
    return {f"{folder}/images/a.jpg": (part, ["dog"]) for folder, part in parts.items()}


XML = "<annotation><object><name>{}</name><difficult>0</difficult></object></annotation>"


def voc(data: Data) -> Labels:
    for number, part, label in ((27, "train", "cat"), (32, "val", "dog")):
        id = f"2007_0000{number}"
        data.photos(f"JPEGImages/{id}.jpg")
        data.text(f"Annotations/{id}.xml", XML.format(label))
        data.text(f"ImageSets/Main/{part}.txt", f"{id}\n")
    return {"2007_000027": ("train", ["cat"]), "2007_000032": ("validation", ["dog"])}


def voc_lists(data: Data) -> Labels:
    data.photos("JPEGImages/2007_000027.jpg", "JPEGImages/2007_000032.jpg")
    for label, train, val in (("cat", -1, " 1"), ("dog", " 1", -1)):
        data.text(f"ImageSets/Main/{label}_train.txt", f"2007_000027 {train}\n")
        data.text(f"ImageSets/Main/{label}_val.txt", f"2007_000032 {val}\n")
    return {"2007_000027": ("train", ["dog"]), "2007_000032": ("validation", ["cat"])}


def xml_beside(data: Data) -> Labels:
    data.photos("train/a.jpg")
    data.text("train/a.xml", XML.format("cat"))
    return {"a": ("train", ["cat"])}


def xml_beside_in_parts(data: Data) -> Labels:
    for folder in ("train", "valid", "test"):
        data.photos(f"{folder}/a.jpg")
        data.text(f"{folder}/a.xml", XML.format("cat"))
    given = {"a": "train", "valid/a": "validation", "test/a": "test"}
    return {id: (part, ["cat"]) for id, part in given.items()}


def class_files(data: Data) -> Labels:
    data.photos("images/im1.jpg", "images/im2.jpg")
    data.text("annotations/baby.txt", "1\r\n")
    return {"1": ("train", ["baby"]), "2": ("train", [])}


def label_studio(data: Data) -> Labels:
    """As Label Studio 1.23 writes it, but for fields that say nothing of labels."""

    def annotation(*choices: str, **more: Any) -> dict[str, Any]:
        value = {"value": {"choices": [*choices]}, "id": "Dx_aB91ISN", "origin": "manual"}
        result = value | {"from_name": "labels", "to_name": "image", "type": "choices"}
        return {"id": 7, "completed_by": 1, "was_cancelled": False, "result": [result]} | more

    annotations = {
        "1.jpg": [annotation("dog", "cat")],
        "2.jpg": [annotation("cat"), annotation("cat", "dog")],
        "3.jpg": [annotation(result=[])],
        "4.jpg": [annotation("cat", was_cancelled=True)],
    }
    data.photos(*(f"photos/{name}" for name in annotations))
    tasks = [
        {"id": id, "data": {"image": f"/data/local-files/?d={name}"}, "annotations": given}
        for id, (name, given) in enumerate(annotations.items(), 1)
    ]
    data.text("export.json", json.dumps(tasks))
    lists = [["cat", "dog"], ["cat"], [], None]
    return {name: ("train", labels) for name, labels in zip(annotations, lists, strict=True)}


def cvat(data: Data) -> Labels:
    data.photos("images/1.jpg", "images/2.jpg")
    tags = '<tag label="dog" source="manual"></tag>\n<tag label="cat" source="manual"></tag>'
    images = (
        f'<image id="0" name="1.jpg" width="24" height="16">{tags}</image>\n'
        '<image id="1" name="2.jpg" width="24" height="16"></image>'
    )
    head = "<annotations><version>1.1</version><meta></meta>"
    data.text("annotations.xml", f"<?xml version='1.0'?>\n{head}{images}</annotations>")
    return {"1.jpg": ("train", ["cat", "dog"]), "2.jpg": ("train", [])}


def folders(data: Data) -> Labels:
    data.photos("photos/cat/1.jpg", "photos/dog/2.jpg")
    Path("raw/photos/cat/2.jpg").write_bytes(Path("raw/photos/dog/2.jpg").read_bytes())
    return {"photos/cat/1.jpg": ("train", ["cat"]), "photos/cat/2.jpg": ("train", ["cat", "dog"])}


def folders_in_parts(data: Data) -> Labels:
    data.photos("train/cat/1.jpg", "val/cat/2.jpg", "test/cat/3.jpg")
    parts = {"train/cat/1.jpg": "train", "val/cat/2.jpg": "validation", "test/cat/3.jpg": "test"}
    return {id: (part, ["cat"]) for id, part in parts.items()}


MAKERS = [
    *(coco, coco_with_validation, coco_of_roboflow, coco_panoptic),
    *(yolo, yolo_of_roboflow, voc, voc_lists, xml_beside, xml_beside_in_parts),
    *(class_files, label_studio, cvat, folders, folders_in_parts),
]


@pytest.mark.parametrize(("shape", "make"), [*zip(SHAPES, MAKERS, strict=True)], ids=[*SHAPES])
def test_a_shape_of_the_docs(
    in_tmp: Path,
    ingest: Callable[..., None],
    photo: Callable[..., bytes],
    shape: str,
    make: Callable[[Data], Labels],
) -> None:
    expected = make(Data(photo))
    source = SHAPES[shape]["source"]
    ingest(source, SHAPES[shape][source], max_rejected=0)
    parts = {"part": None} if "part" not in records.read().columns else {}
    found = {
        row["id"]: ((row | parts)["part"] or row["subset"], row["labels"])
        for row in records.read().to_dicts()
    }
    assert found == expected
    if "captions" in SHAPES[shape][source]:
        assert records.read()["caption"].to_list() == ["A room.", "A room."]

from pathlib import Path

import pytest

from stages import UserError
from stages.ingest.sources import Row, Unreadable
from stages.ingest.sources.yolo import Options, rows

OPTIONS = Options(data="data.yaml")

# As Ultralytics writes them, and as Roboflow does.
COCO8 = """# COCO8 dataset
path: ../datasets/coco8  # dataset root dir
train: images/train # 4 images
val: images/val
test: # test images (optional)

names:
  0: person
  1: bicycle
  2: traffic light
download: https://example.org/coco8.zip
"""
ROBOFLOW = """train: ../train/images
val: ../valid/images
test: ../test/images

nc: 2
names: ['cat', 'dog']
"""
BOX = "0.479492 0.688771 0.955609 0.5955"


def put(root: Path, boxes: dict[str, str | None]) -> None:
    """Photos by their paths, and the lines of the text file of each; None: it has none."""
    for path, text in boxes.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
        if text is not None:
            file = (root / path.replace("images", "labels")).with_suffix(".txt")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)


def read(root: Path, data: str) -> list[Row | Unreadable]:
    (root / "data.yaml").write_text(data)
    return list(rows(root, OPTIONS))


def labels(listed: list[Row | Unreadable]) -> dict[str, list[str] | None]:
    assert all(isinstance(row, Row) for row in listed), listed
    return {row.id: row.labels for row in listed}


def test_folders_of_photos(tmp_path: Path) -> None:
    put(
        tmp_path,
        {
            "images/train/1.jpg": f"2 {BOX}\n0 {BOX}\n\n2 {BOX}\n",
            "images/train/2.jpg": None,
            "images/train/deep/3.PNG": f"1.0 {BOX} 0.5 0.5\n",  # an outline
            "images/val/4.jpg": "",
        },
    )
    (tmp_path / "labels/train/classes.txt").write_text("person\nbicycle\n")
    (tmp_path / "images/train/1.npy").touch()
    (tmp_path / "images/train/.DS_Store").touch()
    listed = read(tmp_path, COCO8)
    assert labels(listed) == {
        "images/train/1.jpg": ["person", "traffic light"],
        "images/train/2.jpg": [],
        "images/train/deep/3.PNG": ["bicycle"],
        "images/val/4.jpg": [],
    }


def test_train_valid_and_test_of_roboflow(tmp_path: Path) -> None:
    put(
        tmp_path,
        {
            "train/images/a.jpg": f"0 {BOX}",
            "valid/images/b.jpg": f"1 {BOX}",
            "test/images/c.jpg": f"1 {BOX}",
            "test/images/d.jpg": None,
        },
    )
    listed = read(tmp_path, ROBOFLOW)
    assert [(row.id, row.subset, row.part, row.labels) for row in listed] == [
        ("train/images/a.jpg", "train", "train", ["cat"]),
        ("valid/images/b.jpg", "train", "validation", ["dog"]),
        ("test/images/c.jpg", "test", None, ["dog"]),
        ("test/images/d.jpg", "test", None, []),
    ]
    (tmp_path / "test/labels/c.txt").unlink()
    assert [row.labels for row in read(tmp_path, ROBOFLOW)[2:]] == [None, None]


def test_lists_of_photos(tmp_path: Path) -> None:
    photos = {f"images/2017/{number}.jpg": f"{number} {BOX}" for number in range(3)}
    put(tmp_path / "coco", photos)
    (tmp_path / "coco/train.txt").write_text("./images/2017/0.jpg\n\nimages//2017/1.jpg\n")
    (tmp_path / "coco/val.txt").write_text("coco/images/2017/2.jpg\n../../secret.jpg\n")
    *listed, last = read(
        tmp_path, "path: coco\ntrain: train.txt\nval: [val.txt]\nnames: [a, b, c]\n"
    )
    assert [(row.file, row.row, row.id, row.labels, row.part) for row in listed] == [
        ("coco/train.txt", 1, "coco/images/2017/0.jpg", ["a"], "train"),
        ("coco/train.txt", 3, "coco/images/2017/1.jpg", ["b"], "train"),
        ("coco/val.txt", 1, "coco/images/2017/2.jpg", ["c"], "validation"),
    ]
    assert (last.file, last.row) == ("coco/val.txt", 2)


def test_several_folders_and_photos_named_twice(tmp_path: Path) -> None:
    put(tmp_path, {"x/images/1.jpg": f"0 {BOX}", "y/images/1.jpg": f"1 {BOX}"})
    data = "train: [x/images, 'y\\images']\nval: [x/images]\ntest: y/images\nnames: [a, b]\n"
    listed = read(tmp_path, data)
    assert labels(listed) == {"x/images/1.jpg": ["a"], "y/images/1.jpg": ["b"]}
    assert {(row.subset, row.part) for row in listed} == {("train", None)}


def test_absolute_paths_below_the_root(tmp_path: Path) -> None:
    put(tmp_path, {"images/1.jpg": f"0 {BOX}"})
    assert labels(read(tmp_path, f"train: {tmp_path}/images\nnames: [a]\n")) == {
        "images/1.jpg": ["a"]
    }


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (f"3 {BOX}", "class 3, which data.yaml does not name"),
        (f"-1 {BOX}", "class -1"),
        (f"0.5 {BOX}", "no class and four or more numbers"),
        (f"cat {BOX}", "no class"),
        (f"nan {BOX}", "no class"),
        ("1 0.5 0.5", "no class"),
    ],
)
def test_a_photo_with_a_strange_box_is_set_aside(tmp_path: Path, line: str, reason: str) -> None:
    put(tmp_path, {"images/1.jpg": f"0 {BOX}\n{line}\n", "images/2.jpg": f"0 {BOX}"})
    first, _ = read(tmp_path, "train: images\nnames: {0: a, 1: b, 2: c}\n")
    assert (first.file, first.row, first.photo) == ("labels/1.txt", 2, "images/1.jpg")
    assert reason in first.reason


def test_boxes_that_are_no_text(tmp_path: Path) -> None:
    put(tmp_path, {"images/1.jpg": "", "images/2.jpg": ""})
    (tmp_path / "labels/1.txt").write_bytes(b"\xff\xfe0")
    first, _ = read(tmp_path, "train: images\nnames: [a]\n")
    assert (first.file, first.photo) == ("labels/1.txt", "images/1.jpg")


def test_misspelt_text_files_leave_labels_unknown(tmp_path: Path) -> None:
    put(tmp_path, {"images/1.jpg": f"0 {BOX}", "images/02.jpg": None, "other/images/3.jpg": None})
    (tmp_path / "labels/2.txt").write_text(f"0 {BOX}")
    first, *listed = read(tmp_path, "train: [images, other/images]\nnames: [a]\n")
    assert first == Unreadable("labels/2.txt", 1, "boxes of a photo that is not there")
    assert labels(listed) == {
        "images/02.jpg": None,
        "images/1.jpg": ["a"],
        "other/images/3.jpg": [],
    }


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("train: [", "is not YAML"),
        ("- a", "must hold names"),
        ("train: images\nnc: 2\n", "has no names"),
        ("train: images\nnames: [a, a]\n", "classes 0 and 1 are both named 'a'"),
        ("train: images\nnames: [a, null]\n", "names has 1: None"),
        ("train: images\nnames: {one: a}\n", "names has 'one': 'a'"),
        ("train: images\nnc: 3\nnames: [a, b]\n", "nc is 3, but names has 2"),
        ("names: [a]\n", "no entry train"),
        ("train: 7\nnames: [a]\n", "7 names no folder"),
        ("train: fotos\nnames: [a]\n", "names fotos, which is not below"),
        ("train: /etc\nnames: [a]\n", "names /etc, which is not below"),
        ("train: ../..\nnames: [a]\n", "which is not below"),
        ("train: labels\nnames: [a]\n", "labels holds no photo"),
        ("train: bare\nnames: [a]\n", r"bare has a text file of boxes; .*would be .*bare/1\.txt"),
    ],
)
def test_a_data_yaml_that_cannot_be_followed(tmp_path: Path, data: str, message: str) -> None:
    put(tmp_path, {"images/1.jpg": f"0 {BOX}", "bare/1.jpg": None})
    with pytest.raises(UserError, match=message):
        read(tmp_path, data)

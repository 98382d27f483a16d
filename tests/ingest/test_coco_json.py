import json
from pathlib import Path
from typing import Any

import pytest

from stages import UserError
from stages.ingest.sources import Row, Unreadable
from stages.ingest.sources.coco_json import Options, rows

INSTANCES = {
    "images": [
        {"id": 7, "file_name": "7.jpg"},
        {"id": 8, "file_name": "sub/8.jpg"},
        {"id": 9, "file_name": "9.jpg"},
    ],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 18, "iscrowd": 0},
        {"id": 2, "image_id": 7, "category_id": 1, "iscrowd": 1},
        {"id": 3, "image_id": 7, "category_id": 18, "iscrowd": 0},
        {"id": 4, "image_id": 8, "category_id": 1, "iscrowd": 0},
    ],
    "categories": [{"id": 1, "name": "person"}, {"id": 18, "name": "dog"}],
}
CAPTIONS = {
    "annotations": [
        {"image_id": 8, "caption": "One. \n"},
        {"image_id": 7, "caption": 'A "dog", etc.'},
        {"image_id": 8, "caption": "Two."},
        {"image_id": 30, "caption": "Test."},
    ]
}
TEST = {"images": [{"id": 30, "file_name": "30.jpg"}]}


def read(root: Path, **contents: Any) -> list[Row | Unreadable]:
    for name, content in contents.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (root / f"{name}.json").write_text(text, "utf-8")
    options = Options(
        instances="instances.json",
        captions="captions.json" if "captions" in contents else None,
        photos="train",
        test="test.json" if "test" in contents else None,
        test_photos="test" if "test" in contents else None,
    )
    return list(rows(root, options))


def test_instances_captions_and_test_images(tmp_path: Path) -> None:
    listed = read(tmp_path, instances=INSTANCES, captions=CAPTIONS, test=TEST)
    assert listed == [
        Row(
            "instances.json", 1, "7.jpg", "train/7.jpg", "train", ["dog", "person"], 'A "dog", etc.'
        ),
        Row("instances.json", 2, "sub/8.jpg", "train/sub/8.jpg", "train", ["person"], "One.\nTwo."),
        Row("instances.json", 3, "9.jpg", "train/9.jpg", "train", [], None),
        Row("test.json", 1, "30.jpg", "test/30.jpg", "test", None, "Test."),
    ]


def test_captions_are_not_needed(tmp_path: Path) -> None:
    assert [row.caption for row in read(tmp_path, instances=INSTANCES)] == [None] * 3


@pytest.mark.parametrize(
    ("annotation", "reason"),
    [
        ({"image_id": 404, "category_id": 1}, "an image not listed"),
        ({"category_id": 1}, "an image not listed"),
        ({"image_id": 7, "category_id": 404}, "a category not listed"),
        ({"image_id": 7}, "a category not listed"),
        ({"image_id": [7], "category_id": 1}, "an image not listed"),
        ({"image_id": 7, "category_id": {}}, "a category not listed"),
    ],
)
def test_annotations_of_nothing_are_set_aside(
    tmp_path: Path, annotation: dict[str, Any], reason: str
) -> None:
    instances = INSTANCES | {"annotations": [*INSTANCES["annotations"], annotation]}
    first, *others = read(tmp_path, instances=instances)
    assert (first.file, first.row) == ("instances.json", 5)
    assert reason in first.reason
    assert others == read(tmp_path, instances=INSTANCES)


@pytest.mark.parametrize("caption", [{"image_id": 404, "caption": "x"}, {"image_id": 7}])
def test_captions_of_nothing_are_set_aside(tmp_path: Path, caption: dict[str, Any]) -> None:
    first, *others = read(tmp_path, instances=INSTANCES, captions={"annotations": [caption]})
    assert (first.file, first.row) == ("captions.json", 1)
    assert [row.caption for row in others] == [None] * 3


@pytest.mark.parametrize("image", [{"id": 1}, {"file_name": "x.jpg"}, {"id": 1, "file_name": 2}])
def test_images_without_name_are_set_aside(tmp_path: Path, image: dict[str, Any]) -> None:
    listed = read(tmp_path, instances=INSTANCES | {"images": [image, *INSTANCES["images"]]})
    assert listed[0] == Unreadable("instances.json", 1, "an image without id or file_name")
    assert len(listed) == 4


def test_labels_of_test_images_are_set_aside(tmp_path: Path) -> None:
    of_test = {"image_id": 30, "category_id": 18}
    annotations = [*INSTANCES["annotations"], of_test]
    listed = read(tmp_path, instances=INSTANCES | {"annotations": annotations}, test=TEST)
    assert listed[0] == Unreadable("instances.json", 5, "an annotation of an image not listed")


def test_an_id_in_both_files_is_refused(tmp_path: Path) -> None:
    test = {"images": [*TEST["images"], {"id": 8, "file_name": "other.jpg"}]}
    with pytest.raises(UserError, match=r"instances\.json and .*test\.json both have .* id 8"):
        read(tmp_path, instances=INSTANCES, captions=CAPTIONS, test=test)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "no list 'images'"),
        (json.dumps({"images": []}), "no list 'annotations'"),
        (json.dumps(INSTANCES | {"images": [7]}), "no list 'images' of objects"),
        (json.dumps(INSTANCES | {"categories": [{"id": 1}]}), "category 1 has no id or no name"),
    ],
)
def test_a_file_of_another_kind(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        read(tmp_path, instances=content)
    assert str(tmp_path / "instances.json") in str(error.value)

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
        validation="validation.json" if "validation" in contents else None,
        validation_captions=None,
        validation_photos="validation",
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


def with_annotations(*annotations: dict[str, Any]) -> dict[str, Any]:
    return INSTANCES | {"annotations": [*INSTANCES["annotations"], *annotations]}


@pytest.mark.parametrize(
    "annotation",
    [
        {"image_id": 404, "category_id": 1},
        {"category_id": 1},
        {"image_id": [7], "category_id": 1},
        {"image_id": 404, "category_id": 404},
    ],
)
def test_annotations_of_no_image_are_set_aside(tmp_path: Path, annotation: dict[str, Any]) -> None:
    first, *others = read(tmp_path, instances=with_annotations(annotation))
    assert first == Unreadable("instances.json", 5, "an annotation of an image not listed")
    assert others == read(tmp_path, instances=INSTANCES)


def test_what_is_set_aside_is_counted_by_photos(tmp_path: Path) -> None:
    of_404 = [{"image_id": 404, "category_id": number} for number in (1, 18, 1)]
    of_7 = [{"image_id": 7, "category_id": number} for number in (404, 405)]
    listed = read(tmp_path, instances=with_annotations(*of_404, *of_7))
    assert [row.row for row in listed if isinstance(row, Unreadable)] == [5, 8]
    assert len(listed) == 4


@pytest.mark.parametrize("category", [{"category_id": 404}, {}, {"category_id": {}}])
def test_a_photo_with_an_unlisted_category_is_set_aside(
    tmp_path: Path, category: dict[str, Any]
) -> None:
    annotation = {"image_id": 9} | category
    *others, last = read(tmp_path, instances=with_annotations(annotation))
    assert (last.file, last.row, last.photo) == ("instances.json", 5, "train/9.jpg")
    assert "which is not listed" in last.reason
    assert [row.id for row in others] == ["7.jpg", "sub/8.jpg"]


@pytest.mark.parametrize("wrong", [404, "7", None])
def test_a_category_of_no_listed_image_is_an_error(tmp_path: Path, wrong: Any) -> None:
    categories = [*INSTANCES["categories"], {"id": 3, "name": "rare"}]
    annotations = [*INSTANCES["annotations"], {"image_id": wrong, "category_id": 3}]
    content = INSTANCES | {"categories": categories, "annotations": annotations}
    with pytest.raises(UserError, match=f"'rare' .*their image_id is {wrong!r}, .* 7, 8, 9"):
        read(tmp_path, instances=content)
    annotations[-1]["image_id"] = 9.0  # as tables turned into JSON have them
    assert read(tmp_path, instances=content)[2].labels == ["rare"]


@pytest.mark.parametrize(
    ("key", "item", "message"),
    [
        ("images", {"id": 8, "file_name": "x.jpg"}, "id 8: sub/8.jpg and x.jpg"),
        ("images", {"id": 10, "file_name": "./sub//8.jpg"}, "id 8 and 10 are one photo"),
        ("categories", {"id": 18, "name": "cat"}, "id 18: dog and cat"),
    ],
)
def test_what_stands_twice_is_an_error(
    tmp_path: Path, key: str, item: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        read(tmp_path, instances=INSTANCES | {key: [*INSTANCES[key], item]})


def test_two_categories_of_one_name_are_an_error_where_both_are_used(tmp_path: Path) -> None:
    categories = [{"id": 0, "name": "dog"}, *INSTANCES["categories"]]  # as Roboflow writes them
    listed = read(tmp_path, instances=INSTANCES | {"categories": categories})
    assert listed[0].labels == ["dog", "person"]
    annotations = [*INSTANCES["annotations"], {"image_id": 9, "category_id": 0}]
    with pytest.raises(UserError, match="0 and 18 are both named 'dog'"):
        read(tmp_path, instances=INSTANCES | {"categories": categories, "annotations": annotations})


def test_captions_of_nothing_are_set_aside_and_cost_no_photo(tmp_path: Path) -> None:
    for caption in ({"image_id": 404, "caption": "x"}, {"image_id": 7}):
        captions = {"annotations": [{"image_id": 8, "caption": "y"}, caption]}
        first, *others = read(tmp_path, instances=INSTANCES, captions=captions)
        assert (first.file, first.row, first.costs_photo) == ("captions.json", 2, False)
        assert [row.caption for row in others] == [None, "y", None]


def test_captions_of_which_none_fits_are_an_error(tmp_path: Path) -> None:
    captions = {"annotations": [{"image_id": "7", "caption": "x"}]}
    with pytest.raises(UserError, match=r"captions\.json: .* image_id is '7', .* 7, 8, 9"):
        read(tmp_path, instances=INSTANCES, captions=captions)


def test_panoptic_segments(tmp_path: Path) -> None:
    segments = [{"id": 3, "category_id": 18}, {"id": 4, "category_id": 1}]
    annotations = [
        {"image_id": 7, "file_name": "7.png", "segments_info": segments},
        {"image_id": 8, "file_name": "8.png", "segments_info": []},
        {"image_id": 9, "file_name": "9.png", "segments_info": [{"id": 5, "category_id": 404}]},
    ]
    listed = read(tmp_path, instances=INSTANCES | {"annotations": annotations})
    assert [row.labels for row in listed[:2]] == [["dog", "person"], []]
    assert (listed[2].row, listed[2].photo) == (3, "train/9.jpg")


def test_a_second_file_is_the_photos_that_validate(tmp_path: Path) -> None:
    # Its categories are numbered in its own way, as its images are.
    validation = {
        "images": [{"id": 7, "file_name": "70.jpg"}],
        "annotations": [{"image_id": 7, "category_id": 1}],
        "categories": [{"id": 1, "name": "dog"}],
    }
    listed = read(tmp_path, instances=INSTANCES, validation=validation)
    assert [row.part for row in listed] == ["train", "train", "train", "validation"]
    assert listed[3].photo == "validation/70.jpg"
    assert (listed[3].subset, listed[3].labels) == ("train", ["dog"])
    assert {row.part for row in read(tmp_path, instances=INSTANCES)} == {None}


def test_test_images_with_annotations_are_a_holdout(tmp_path: Path) -> None:
    images = [{"id": 30, "file_name": "30.jpg"}, {"id": 31, "file_name": "31.jpg"}]
    test = {
        "images": images,
        "annotations": [{"image_id": 31, "category_id": 5}],
        "categories": [{"id": 5, "name": "dog"}],
    }
    listed = read(tmp_path, instances=INSTANCES, test=test)
    assert [(row.subset, row.labels, row.part) for row in listed[3:]] == [
        ("test", [], None),
        ("test", ["dog"], None),
    ]
    # Image info, without annotations: not known.
    listed = read(tmp_path, instances=INSTANCES, test=test | {"annotations": []})
    assert [row.labels for row in listed[3:]] == [None, None]


@pytest.mark.parametrize("image", [{"id": 1}, {"file_name": "x.jpg"}, {"id": 1, "file_name": 2}])
def test_images_without_name_are_set_aside(tmp_path: Path, image: dict[str, Any]) -> None:
    listed = read(tmp_path, instances=INSTANCES | {"images": [image, *INSTANCES["images"]]})
    assert listed[0] == Unreadable("instances.json", 1, "an image without id or file_name")
    assert len(listed) == 4


def test_labels_of_test_images_are_set_aside(tmp_path: Path) -> None:
    annotated = with_annotations({"image_id": 30, "category_id": 18})
    listed = read(tmp_path, instances=annotated, test=TEST)
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

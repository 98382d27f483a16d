"""What Label Studio 1.23 writes, as far as it says something of labels."""

import json
from pathlib import Path
from typing import Any

import pytest

from stages import UserError
from stages.ingest.sources import Row, Unreadable, label_studio

OPTIONS = label_studio.Options(file="export.json", photos="photos", image="image", labels="labels")


def rows(root: Path, items: Any, **options: str) -> dict[str, Row]:
    (root / "export.json").write_text(json.dumps(items))
    listed = label_studio.rows(root, OPTIONS.model_copy(update=options))
    return {row.id: row for row in listed if isinstance(row, Row)}


def task(image: str, *choices: list[str], **data: str) -> dict[str, Any]:
    annotations = [{"result": [result(names)], "was_cancelled": False} for names in choices]
    return {"data": {"image": image} | data, "annotations": annotations, "predictions": [{}]}


def result(names: list[str], control: str = "labels") -> dict[str, Any]:
    value = {"type": "choices", "value": {"choices": names}}
    return value | {"from_name": control, "to_name": "image", "origin": "manual"}


@pytest.mark.parametrize(
    ("image", "id", "photo"),
    [
        ("/data/local-files/?d=a%20b/%C3%A4.jpg", "a b/ä.jpg", "photos/a b/ä.jpg"),
        ("/data/upload/3/0f3c2b1a-cat.jpg", "cat.jpg", "photos/cat.jpg"),
        ("https://example.org/1.jpg?x=%20", *["https://example.org/1.jpg?x=%20"] * 2),
        ("s3://bucket/1.jpg", *["s3://bucket/1.jpg"] * 2),
    ],
)
def test_images_are_found_by_where_label_studio_has_them(
    tmp_path: Path, image: str, id: str, photo: str
):
    [row] = rows(tmp_path, [task(image, ["cat"])]).values()
    assert (row.id, row.photo, row.labels, row.subset) == (id, photo, ["cat"], "train")
    [named] = rows(tmp_path, [task(image, ["cat"], photo_id="7.jpg")]).values()
    assert (named.id, named.photo) == ("7.jpg", "photos/7.jpg")


def test_what_annotations_do_not_agree_on_is_not_known(tmp_path: Path):
    found = rows(
        tmp_path,
        [
            task("1.jpg", ["cat", "dog"], ["dog", "eel"]),
            task("2.jpg", []),
            task("3.jpg"),
            task("4.jpg", ["cat"]),
            task("4.jpg", ["cat", "dog"]),
        ],
    )
    lists = {id: (row.labels, row.unknown, row.row) for id, row in found.items()}
    assert lists == {
        "1.jpg": (["dog"], ("cat", "eel"), 1),
        "2.jpg": ([], (), 2),
        "3.jpg": (None, (), 3),
        "4.jpg": (["cat"], ("dog",), 4),
    }


def test_a_photo_that_was_skipped_is_not_known(tmp_path: Path):
    skipped = task("1.jpg", ["cat"])
    skipped["annotations"][0]["was_cancelled"] = True
    assert rows(tmp_path, [skipped, task("2.jpg", ["cat"])])["1.jpg"].labels is None


def test_json_min(tmp_path: Path):
    """One choice stands there as it is, and none not at all; nor does an annotation that is not."""
    about = {"id": 1, "annotator": 1, "annotation_id": 4, "lead_time": 3.1, "photo_id": "x.jpg"}
    items = [
        {"image": "1.jpg", "labels": {"choices": ["cat", "dog"]}} | about,
        {"image": "2.jpg", "labels": "cat"} | about | {"photo_id": "2.jpg"},
        {"image": "3.jpg"} | about | {"photo_id": "3.jpg"},
        {"image": "4.jpg"} | about | {"photo_id": "4.jpg", "annotation_id": None},
    ]
    lists = {id: row.labels for id, row in rows(tmp_path, items).items()}
    assert lists == {"x.jpg": ["cat", "dog"], "2.jpg": ["cat"], "3.jpg": [], "4.jpg": None}


def test_other_names_of_image_and_control(tmp_path: Path):
    items = [{"data": {"pic": "1.jpg"}, "annotations": [{"result": [result(["cat"], "kind")]}]}]
    found = rows(tmp_path, items, image="pic", labels="kind")
    assert found["1.jpg"].labels == ["cat"]
    with pytest.raises(UserError, match=r"export\.json.*'labels'.*ingest\.label-studio\.labels"):
        rows(tmp_path, items, image="pic")


@pytest.mark.parametrize(
    "item",
    [7, {}, {"data": 1}, {"data": {"image": 1}, "annotations": []},
     {"data": {"image": "1.jpg"}, "annotations": [{"result": [{"value": {"choices": "cat"}}]}]},
     {"image": "1.jpg", "labels": 7}],
)  # fmt: skip
def test_what_is_no_task_is_set_aside(tmp_path: Path, item: Any):
    (tmp_path / "export.json").write_text(json.dumps([task("2.jpg", ["cat"]), item]))
    *_, last = sorted(label_studio.rows(tmp_path, OPTIONS), key=lambda row: row.row)
    assert isinstance(last, Unreadable)
    assert (last.file, last.row) == ("export.json", 2)


@pytest.mark.parametrize("text", ["[", '{"data": {}}'])
def test_what_is_no_export(tmp_path: Path, text: str):
    (tmp_path / "export.json").write_text(text)
    with pytest.raises(UserError, match=r"export\.json is n"):
        list(label_studio.rows(tmp_path, OPTIONS))

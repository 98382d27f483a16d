import os
from pathlib import Path

import pytest

from stages import UserError
from stages.ingest.sources import Row, Unreadable
from stages.ingest.sources.folders import Options, rows

OPTIONS = Options(photos="photos", validation=None, test=None)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three photos of cats, one of them with a dog; another of dogs has the name of one of cats."""
    for file, content in {
        "cat/1.jpg": "cat",
        "cat/2.jpg": "cat and dog",
        "cat/deep/3.jpg": "far cat",
        "dog/1.jpg": "dog",
        "dog/2.jpg": "cat and dog",
    }.items():
        put(tmp_path / "photos" / file, content)
    return tmp_path


def put(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def labels(root: Path, options: Options = OPTIONS) -> dict[str, list[str] | None]:
    listed = list(rows(root, options))
    assert all(isinstance(row, Row) for row in listed), listed
    return {row.id: row.labels for row in listed}


def aside(root: Path) -> list[Unreadable]:
    return [row for row in rows(root, OPTIONS) if isinstance(row, Unreadable)]


def test_a_photo_in_two_folders_has_both_labels(root: Path) -> None:
    assert labels(root) == {
        "photos/cat/1.jpg": ["cat"],
        "photos/cat/2.jpg": ["cat", "dog"],
        "photos/cat/deep/3.jpg": ["cat"],
        "photos/dog/1.jpg": ["dog"],
    }
    first = next(rows(root, OPTIONS))
    assert first == Row("photos", 1, "photos/cat/1.jpg", first.id, "train", ["cat"], None)


def test_the_same_name_and_size_is_not_enough(root: Path) -> None:
    put(root / "photos/dog/1.jpg", "dot")
    put(root / "photos/bird/7.jpg", "cat and dog")  # the same bytes alone neither
    assert labels(root)["photos/dog/1.jpg"] == ["dog"]
    assert labels(root)["photos/bird/7.jpg"] == ["bird"]


def test_links_to_one_file_are_one_photo(root: Path) -> None:
    photos = root / "photos"
    (photos / "far").mkdir()
    (photos / "far/a.jpg").symlink_to("../cat/deep/3.jpg")
    os.link(photos / "cat/1.jpg", photos / "far/b.jpg")
    os.link(photos / "dog/2.jpg", photos / "far/c.jpg")
    found = labels(root)
    assert found["photos/cat/deep/3.jpg"] == ["cat", "far"]
    assert found["photos/cat/1.jpg"] == ["cat", "far"]
    assert found["photos/cat/2.jpg"] == ["cat", "dog", "far"]
    assert len(found) == 4


def test_links_to_photos_that_lie_elsewhere(root: Path) -> None:
    (root / "photos").rename(root / "pool")
    for label, name in (("cat", "1"), ("dog", "1"), ("dog", "none")):
        (root / "photos" / label).mkdir(parents=True, exist_ok=True)
        (root / "photos" / label / f"{name}.jpg").symlink_to(f"../../pool/cat/{name}.jpg")
    assert labels(root) == {"photos/cat/1.jpg": ["cat", "dog"], "photos/dog/none.jpg": ["dog"]}


def test_given_parts_and_test(root: Path) -> None:
    put(root / "valid/cat/1.jpg", "cat 2")
    put(root / "test/dog/1.jpg", "dog 2")
    put(root / "test/2.jpg", "unknown")
    options = Options(photos="photos", validation="valid", test="test")
    assert [(row.id, row.subset, row.part, row.labels) for row in rows(root, options)][3:] == [
        ("photos/dog/1.jpg", "train", "train", ["dog"]),
        ("valid/cat/1.jpg", "train", "validation", ["cat"]),
        ("test/dog/1.jpg", "test", None, ["dog"]),
        ("test/2.jpg", "test", None, None),
    ]


def test_what_has_no_label_is_set_aside(root: Path) -> None:
    put(root / "photos/5.jpg", "whose?")
    put(root / "photos/.hidden", "")
    put(root / "photos/cat/.hidden/6.jpg", "")
    (root / "photos/cat/more").symlink_to("../dog")
    assert aside(root) == [
        Unreadable("photos", 1, "it lies in no folder that is named after a label", "photos/5.jpg"),
        Unreadable(
            "photos/cat/more", 1, "a link to a folder, which is not followed", costs_photo=False
        ),
    ]


def test_parts_are_no_labels(root: Path) -> None:
    (root / "photos/cat").rename(root / "photos/Train")
    (root / "photos/dog").rename(root / "photos/val")
    with pytest.raises(UserError, match="Train, val, which are parts and no labels"):
        list(rows(root, OPTIONS))


def test_folders_that_are_not_there(root: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere is no folder"):
        list(rows(root, Options(photos="nowhere", validation=None, test=None)))
    with pytest.raises(UserError, match=r"cat holds no folder that is named after a label"):
        (root / "photos/cat/deep/3.jpg").unlink()
        (root / "photos/cat/deep").rmdir()
        list(rows(root, Options(photos="photos/cat", validation=None, test=None)))

from pathlib import Path

import pytest

from stages import UserError
from stages.ingest.sources import Row, Unreadable
from stages.ingest.sources.class_files import Options, rows

OPTIONS = Options(lists="lists", photos="images", test=None, pattern="im{id}.jpg")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "lists").mkdir()
    (tmp_path / "images").mkdir()
    for id in (1, 2, 9, 10):
        (tmp_path / "images" / f"im{id}.jpg").touch()
    (tmp_path / "lists" / "sea.txt").write_bytes(b"2\r\n\r\n 10 \r\n2")
    (tmp_path / "lists" / "baby.bird.txt").write_text("\ufeff10\n1\n")
    (tmp_path / "lists" / ".hidden").write_text("77\n")
    return tmp_path


def test_every_photo_is_a_record_listed_or_not(root: Path) -> None:
    listed = list(rows(root, OPTIONS))
    assert [row.id for row in listed] == ["1", "2", "9", "10"]
    assert [row.labels for row in listed] == [["baby.bird"], ["sea"], [], ["baby.bird", "sea"]]
    assert [row.photo for row in listed][3] == "images/im10.jpg"
    assert {(row.subset, row.caption) for row in listed} == {("train", None)}


def test_a_listed_id_without_photo_is_a_row_that_says_where(root: Path) -> None:
    (root / "lists" / "sea.txt").write_text("2\n\n404\n")  # one that is there is enough
    (missing,) = (row for row in rows(root, OPTIONS) if row.id == "404")
    assert (missing.file, missing.row, missing.photo) == ("lists/sea.txt", 3, "images/im404.jpg")


def test_photos_of_a_test_folder_have_unknown_labels(root: Path) -> None:
    (root / "test").mkdir()
    (root / "test" / "im77.jpg").touch()
    *_, last = rows(root, OPTIONS.model_copy(update={"test": "test"}))
    assert (last.id, last.subset, last.labels) == ("77", "test", None)
    assert last.photo == "test/im77.jpg"


def test_files_that_the_pattern_does_not_name_are_set_aside(root: Path) -> None:
    (root / "images" / "im3.png").touch()
    listed = list(rows(root, OPTIONS))
    assert [row for row in listed if isinstance(row, Unreadable)] == [
        Unreadable(
            "images",
            1,
            "its name is not as ingest.class-files.pattern, im{id}.jpg",
            "images/im3.png",
        )
    ]
    assert sum(isinstance(row, Row) for row in listed) == 4


def test_a_pattern_is_no_regular_expression(root: Path) -> None:
    (root / "images" / "im5xjpg").touch()
    assert "5" not in [row.id for row in rows(root, OPTIONS) if isinstance(row, Row)]


@pytest.mark.parametrize("pattern", ["im.jpg", "{id}{id}.jpg"])
def test_a_pattern_without_id(root: Path, pattern: str) -> None:
    with pytest.raises(UserError, match=r"must hold \{id\} once"):
        list(rows(root, OPTIONS.model_copy(update={"pattern": pattern})))


def test_missing_and_empty_folders(root: Path) -> None:
    for key in ("lists", "photos", "test"):
        with pytest.raises(UserError, match="nowhere is no folder"):
            list(rows(root, OPTIONS.model_copy(update={key: "nowhere"})))
    (root / "empty").mkdir()
    with pytest.raises(UserError, match="empty holds no list"):
        list(rows(root, OPTIONS.model_copy(update={"lists": "empty"})))


@pytest.mark.parametrize(
    ("ids", "fitting"),
    [
        ("404\n405\n", "its ids are such as '404', those of the photos such as '1', of im1.jpg"),
        ("im2.jpg\nim9.jpg\n", "set ingest.class-files.pattern to {id}"),
        ("m2.JPG\n", "im2.jpg is there: set ingest.class-files.pattern to i{id}"),
        ("0002\n", "im2.jpg is there: write 2"),
    ],
)
def test_a_list_of_which_no_photo_is_there_is_an_error(root: Path, ids: str, fitting: str) -> None:
    (root / "lists" / "rare.txt").write_text(ids)
    with pytest.raises(UserError) as error:
        list(rows(root, OPTIONS))
    assert "the list of rare names no photo" in str(error.value)
    assert fitting in str(error.value)


def test_an_empty_list_is_no_error(root: Path) -> None:
    (root / "lists" / "rare.txt").touch()
    assert len(list(rows(root, OPTIONS))) == 4

"""What was named becomes photos, one after the other."""

import os
from pathlib import Path

import pytest

from stages import UserError
from tagloom.inputs import Asked, Captions, Unreadable, asked, captioned, count
from tests.command.conftest import photo


def names(*places: Path, below: Path | None = None) -> list[str]:
    return [each.name for each in asked(places, below)]


def test_a_folder_gives_its_photos_by_name_and_nothing_else(in_tmp: Path):
    for name in ("b.png", "a.JPG", "sub/c.webp", "sub/deeper/d.heic", "Ä ö.tiff"):
        photo(in_tmp / "photos" / name)
    for name in ("notes.txt", "film.mpg", "drawing.eps", "a.jpg.txt", ".hidden.jpg", "jpg"):
        photo(in_tmp / "photos" / name)
    photo(in_tmp / "photos/.thumbnails/e.jpg")
    (in_tmp / "photos/folder.jpg").mkdir()
    assert names(Path("photos")) == [
        f"photos/{name}"
        for name in ("a.JPG", "b.png", "Ä ö.tiff", "sub/c.webp", "sub/deeper/d.heic")
    ]


def test_links_to_photos_are_followed_and_those_to_folders_not(in_tmp: Path):
    photo(in_tmp / "elsewhere/a.jpg")
    folder = in_tmp / "photos"
    folder.mkdir()
    (folder / "linked.jpg").symlink_to("../elsewhere/a.jpg")
    (folder / "broken.jpg").symlink_to("nowhere.jpg")
    (folder / "itself.jpg").symlink_to("itself.jpg")
    (folder / "round").symlink_to(".")
    (folder / "elsewhere").symlink_to("../elsewhere")
    (in_tmp / "way in").symlink_to("photos")
    assert names(Path("way in")) == [f"way in/{n}.jpg" for n in ("broken", "itself", "linked")]


def test_a_photo_that_is_named_twice_comes_twice(in_tmp: Path):
    photo(in_tmp / "photos/a.jpg")
    assert names(Path("photos/a.jpg"), Path("photos")) == ["photos/a.jpg"] * 2


def test_a_named_file_is_a_photo_whatever_its_suffix(in_tmp: Path):
    assert names(Path("photo"), Path(".hidden.txt")) == ["photo", ".hidden.txt"]


@pytest.mark.skipif(os.name == "nt", reason="names of files are text there")
def test_a_name_that_is_no_text_is_shown_escaped(in_tmp: Path):
    (in_tmp / "photos").mkdir()
    Path(os.fsdecode(b"photos/\xff.jpg")).write_bytes(b"")
    [only] = asked([Path("photos")])
    assert only.name == "photos/\\xff.jpg"
    assert only.path.exists()


def test_a_csv_gives_photos_with_captions_below_its_folder(in_tmp: Path):
    file = in_tmp / "lists/test.CSV"
    file.parent.mkdir()
    # A byte order mark and the line ends of Windows, as Excel writes them.
    file.write_bytes('\ufeffImageID,Caption\r\na.jpg,"A dog, asleep"\r\n\r\nb.jpg,\r\n'.encode())
    assert list(asked([file])) == [
        Asked("a.jpg", file.parent / "a.jpg", "A dog, asleep"),
        Asked("b.jpg", file.parent / "b.jpg", ""),
    ]
    assert [each.path for each in asked([file], Path("data"))] == [
        Path("data/a.jpg"),
        Path("data/b.jpg"),
    ]


def test_a_csv_may_have_other_columns_and_labels(in_tmp: Path):
    Path("a.csv").write_text("n,Labels,photo,unknown\n1,cat dog,/photos/a.jpg,\n2,,b.jpg,cow\n")
    assert list(asked([Path("a.csv")])) == [
        Asked("/photos/a.jpg", Path("/photos/a.jpg"), None, "cat dog", ""),
        Asked("b.jpg", Path("b.jpg"), None, "", "cow"),
    ]


def test_quotes_in_captions_need_not_be_doubled(in_tmp: Path):
    Path("a.csv").write_text('ImageID,Caption\n1.jpg,"A "stop" sign."\n2.jpg,"A dog"\n')
    assert [each.caption for each in asked([Path("a.csv")])] == [
        'A "stop" sign.',
        "A dog",
    ]


def test_rows_of_a_csv_that_cannot_be_read_are_listed(in_tmp: Path):
    Path("a.csv").write_text("photo,caption\na.jpg,x\n  ,y\nb.jpg\n")
    first, empty, short = asked([Path("a.csv")])
    assert first == Asked("a.jpg", Path("a.jpg"), "x")
    assert (empty.name, short.name) == ("a.csv, row 3", "a.csv, row 4")
    assert "2 fields" in short.reason


@pytest.mark.parametrize(
    "content, fault",
    [
        (b"", "no column of photos, .* it has none at all"),
        (b"a,b\n1,2\n", "no column of photos, .* it has a, b"),
        (b"photo\n\xff.jpg\n", "byte 6"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "byte 0"),
    ],
)
def test_a_csv_that_cannot_be_read_is_named(content: bytes, fault: str, in_tmp: Path):
    Path("a.csv").write_bytes(content)
    with pytest.raises(UserError, match=f"^a.csv .*{fault}"):
        list(asked([Path("a.csv")]))


def test_no_photo_at_all_is_an_error(in_tmp: Path):
    Path("photos").mkdir()
    Path("photos/notes.txt").touch()
    with pytest.raises(UserError, match="no photo in photos"):
        count([Path("photos")])
    Path("photos/a.jpg").touch()
    assert count([Path("photos"), Path("photos")]) == 2


def test_captions_are_found_by_path_and_else_by_name(in_tmp: Path):
    Path("lists").mkdir()
    Path("lists/captions.csv").write_text(
        "photo,caption\n../photos/a.jpg,by path\nb.jpg,by name\nc.jpg,\n"
    )
    captions = Captions(Path("lists/captions.csv"))
    texts = [
        captions.of(Path("photos") / name) for name in ("a.jpg", "sub/b.jpg", "c.jpg", "d.jpg")
    ]
    assert texts == ["by path", "by name", None, None]
    assert captions.of(Path("elsewhere/a.jpg")) is None


def test_captions_win_over_those_of_the_csv_and_may_be_needed(in_tmp: Path):
    Path("captions.csv").write_text("ImageID,Caption\na.jpg,better\n")
    captions = Captions(Path("captions.csv"))
    assert not captions.used
    photos = [Asked(n, Path(n), c) for n, c in (("a.jpg", "a"), ("b.jpg", "b"), ("c.jpg", ""))]
    with_captions = captioned(photos, captions, needed=False)
    assert [each.caption for each in with_captions] == ["better", "b", None]
    assert captions.used
    *_, last = captioned(photos, captions, needed=True)
    assert isinstance(last, Unreadable)
    assert last.name == "c.jpg"


@pytest.mark.parametrize(
    "content, fault",
    [
        ("photo,text\na.jpg,x\n", ".*columns photo and caption; it has photo, text"),
        ("photo,caption\na.jpg,x\na.jpg,y\n", ", row 3: .* a.jpg"),
        ("photo,caption\na.jpg\n", ", row 2: .* 2 fields"),
    ],
)
def test_captions_that_cannot_be_used_are_refused(content: str, fault: str, in_tmp: Path):
    Path("captions.csv").write_text(content)
    with pytest.raises(UserError, match=f"^captions.csv{fault}"):
        Captions(Path("captions.csv"))

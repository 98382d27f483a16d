import re
from pathlib import Path

import pytest

from stages import UserError
from stages.ingest.sources import Unreadable
from stages.ingest.sources.kaggle_csv import Options, rows

HEADER = "ImageID,Labels,Caption\n"
OPTIONS = Options(train="train.csv", test=None, photos="data")


def test_rows_of_both_files(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text(HEADER + '0.jpg,8 3,"a "b""\n1.jpg,,""\n', "utf-8-sig")
    (tmp_path / "test.csv").write_text('ImageID,Caption\n2.jpg,"c, "d""\n', "utf-8")
    zero, one, two = rows(tmp_path, OPTIONS.model_copy(update={"test": "test.csv"}))
    assert (zero.id, zero.photo, zero.subset) == ("0.jpg", "data/0.jpg", "train")
    assert (zero.labels, zero.caption, zero.file, zero.row) == (["8", "3"], 'a "b"', "train.csv", 2)
    assert (one.labels, one.caption) == ([], None)
    assert (two.subset, two.labels, two.caption) == ("test", None, 'c, "d"')


def test_a_test_file_of_ids_only(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("ImageID,Labels\n0.jpg,8 3\n1.jpg,\n")
    (tmp_path / "test.csv").write_text("ImageID\n2.jpg\nplain\n")
    listed = list(rows(tmp_path, OPTIONS.model_copy(update={"test": "test.csv"})))
    assert [row.id for row in listed] == ["0.jpg", "1.jpg", "2.jpg", "plain"]
    assert [row.labels for row in listed] == [["8", "3"], [], None, None]


def test_a_test_photo_without_labels_may_have_some(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("ImageID,Labels\n0.jpg,8 3\n1.jpg,\n")
    (tmp_path / "test.csv").write_text("ImageID,Labels\n2.jpg,\n3.jpg,8\n")
    listed = list(rows(tmp_path, OPTIONS.model_copy(update={"test": "test.csv"})))
    assert [row.labels for row in listed] == [["8", "3"], [], None, ["8"]]


def test_labels_that_are_written_as_lists(tmp_path: Path) -> None:
    cells = ["\"['a', 'b c']\"", "[]", "nan", '"[a, b]"', "1 1"]
    lines = ["ImageID,Labels", *(f"{number}.jpg,{cell}" for number, cell in enumerate(cells))]
    (tmp_path / "train.csv").write_text("\n".join(lines))
    lists, none, missing, unreadable, twice = rows(tmp_path, OPTIONS)
    assert [row.labels for row in (lists, none, missing)] == [["a", "b c"], [], None]
    assert (unreadable.row, twice.labels) == (5, ["1", "1"])
    assert "put quotes around its names" in unreadable.reason


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the header is ''"),
        (b"id;labels\n1;2\n", "the header is 'id;labels'"),
        (HEADER.encode(), "holds a header and no record"),
        (HEADER.encode() + b'0.jpg,1,"\xff"\n', "not UTF-8"),
        (b"x" * 10**6, "the header is 'xxx"),
    ],
)
def test_a_file_of_another_kind(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "train.csv").write_bytes(content)
    with pytest.raises(UserError, match=re.escape(message)) as error:
        list(rows(tmp_path, OPTIONS))
    assert str(tmp_path / "train.csv") in str(error.value)
    assert len(str(error.value)) < 400


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train\.csv does not exist"):
        list(rows(tmp_path, OPTIONS))


@pytest.mark.parametrize("outside", ["../train.csv", "{}/train.csv"])
def test_a_file_that_dvc_would_not_watch(tmp_path: Path, outside: str) -> None:
    (tmp_path / "train.csv").write_text(HEADER + '0.jpg,1,""\n')
    (tmp_path / "root").mkdir()
    options = OPTIONS.model_copy(update={"train": outside.format(tmp_path)})
    with pytest.raises(UserError, match=r"train\.csv is not below ingest\.root"):
        list(rows(tmp_path / "root", options))


@pytest.mark.shared
def test_every_published_record_is_exact(shared: Path) -> None:
    options = OPTIONS.model_copy(update={"test": "test.csv"})
    listed = list(rows(shared / "coco18", options))
    assert not [row for row in listed if isinstance(row, Unreadable)]
    read = [(row.id, row.labels, row.caption) for row in listed]

    # Another reader, for this data only: ids are numbers, all captions are quoted. What it takes
    # for the records makes up the file to the last byte.
    expected = []
    for file, label_part in (("train.csv", r"(\d+(?: \d+)*),"), ("test.csv", "()")):
        text = (shared / "coco18" / file).read_bytes().decode()
        header, _, body = text.partition("\n")
        record = re.compile(rf'(\d+\.jpg),{label_part}"(.*?)"\n(?=\d+\.jpg,|\Z)', re.DOTALL)
        matches = list(record.finditer(body))
        assert "".join(match[0] for match in matches) == body
        expected += [(m[1], m[2].split() if "Labels" in header else None, m[3]) for m in matches]
    assert len(expected) == 10_000 + 2_001
    assert read == expected


@pytest.mark.shared
def test_published_records_that_general_readers_spoil(shared: Path) -> None:
    by_id = {row.id: row for row in rows(shared / "coco18", OPTIONS)}
    assert by_id["9084.jpg"].labels == ["3", "1", "11"]
    assert by_id["9084.jpg"].caption.startswith('A street sign labeled "Seltzer Way," with a red')
    assert by_id["1338.jpg"].caption == 'A man surfing with titling that reads "spray."'
    assert by_id["2259.jpg"].caption == "Men loading up a van with bags and suitcases.\n."
    assert by_id["6751.jpg"].row == 6755
    assert by_id["6751.jpg"].caption.startswith("Red motor \nscooter parked")

import csv
import io
import re
from pathlib import Path

import pytest

from stages import UserError
from stages.ingest.sources import Unreadable
from stages.ingest.sources.kaggle_csv import Options, parse, rows

HEADER = "ImageID,Labels,Caption\n"
OPTIONS = Options(train="train.csv", test=None, photos="data")


def records(body: str) -> list:
    return [fields for _, fields in parse(HEADER + body)[1]]


def lines(body: str) -> list[int]:
    return [line for line, _ in parse(HEADER + body)[1]]


@pytest.mark.parametrize(
    "caption",
    [
        "plain",
        "",
        "with, commas, in it",
        'a sign labeled "Seltzer Way," with a hydrant',
        'titling that reads "spray."',
        '"Stop" it says',
        '"all of it"',
        '"',
        'an empty "" pair, and "words"',
        'line\nbreak and "quote"',
        "\nstarts and ends with a break\n",
        "blank\n\n\nlines",
        'a line\nfoo, bar\nand another "x"',
        'a sign "STOP"\nfoo, bar "baz"',
        'ends a line with a quote "so"\nand goes on',
        'tells of "photo.jpg", a file',
        "see\nphoto.jpg\nphoto.png, too\nphoto.gif,as well",
        "back\\slash and 'single'",
        "ünïcode — 日本 \u2028 separators \x0c\x85",
        " blanks around ",
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("last_end", [True, False])
def test_quoted_captions_with_bare_quotes_are_exact(caption: str, end: str, last_end: bool) -> None:
    caption = caption.replace("\n", end)
    others = ['before "x" it', 'after "y" it']
    body = end.join(
        [f'7.jpg,3 1,"{others[0]}"', f'8.jpg,2,"{caption}"', f'9.JPEG,11,"{others[1]}"']
    )
    header = HEADER.replace("\n", end)
    parsed = list(parse(header + body + (end if last_end else ""))[1])
    assert [fields for _, fields in parsed] == [
        ["7.jpg", "3 1", others[0]],
        ["8.jpg", "2", caption],
        ["9.JPEG", "11", others[1]],
    ]
    assert [line for line, _ in parsed] == [2, 3, 4 + caption.count("\n")]


def test_unquoted_captions_may_hold_commas_and_quotes() -> None:
    parsed = records('0.jpg,1,a, b and c\n1.jpg,2 3,say "hi"\n2.jpg,1,\n')
    assert parsed == [
        ["0.jpg", "1", "a, b and c"],
        ["1.jpg", "2 3", 'say "hi"'],
        ["2.jpg", "1", ""],
    ]


@pytest.mark.parametrize("name", ["1.jpg", "1", "photo one.png", "sub/1.webp"])
def test_an_unclosed_quote_does_not_swallow_the_next_record(name: str) -> None:
    parsed = list(
        parse(f'{HEADER}0.jpg,1,"a "b" c"\n5.jpg,2,"never closed\n{name},3,"fine "x""\n')[1]
    )
    assert parsed[0] == (2, ["0.jpg", "1", 'a "b" c'])
    assert parsed[1][0] == 3
    assert "nothing closes" in parsed[1][1]
    assert parsed[2] == (4, [name, "3", 'fine "x"'])


def test_a_line_that_belongs_to_no_record_is_one_of_its_own() -> None:
    parsed = records('0.jpg,1,a dog\nrubbish\n1.jpg,2\n2.jpg,1,"a "b""\n')
    assert [isinstance(fields, str) for fields in parsed] == [False, True, True, False]
    assert parsed[3] == ["2.jpg", "1", 'a "b"']


def test_ids_without_a_suffix() -> None:
    parsed = records('12,1 3,"a "quoted" word"\n13,2,"two\nlines"\nfourteen,1,"x"\n')
    assert parsed == [
        ["12", "1 3", 'a "quoted" word'],
        ["13", "2", "two\nlines"],
        ["fourteen", "1", "x"],
    ]


def test_a_quoted_id_may_hold_a_comma() -> None:
    parsed = records('"a, b.jpg",1,"one "x""\n"c, d.jpg","1 3","two"\n')
    assert parsed == [["a, b.jpg", "1", 'one "x"'], ["c, d.jpg", "1 3", "two"]]


def test_blank_lines_between_records_do_not_count_as_records() -> None:
    body = '\n0.jpg,1,"a "b""\n\n\n1.jpg,1,"c"\n\n'
    assert records(body) == [["0.jpg", "1", 'a "b"'], ["1.jpg", "1", "c"]]
    assert lines(body) == [3, 6]


@pytest.mark.parametrize("quoting", [csv.QUOTE_ALL, csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_well_formed_files_read_as_csv_does(quoting: int, end: str) -> None:
    expected = [
        ["0.jpg", "1 3", 'He said ""hi"", twice'],
        ["1.jpg", "2", 'ends "so"'],
        ["no suffix, a comma", "2", "three\nlines\n\nx.jpg,1,oh"],
        ['with "quotes".jpg', "", ""],
        ["4.jpg", "1,2", '"'],
    ]
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, quoting=quoting, lineterminator=end)
    writer.writerows([["ImageID", "Labels", "Caption"], *expected])
    header, parsed = parse(stream.getvalue())
    assert header == ["ImageID", "Labels", "Caption"]
    assert [fields for _, fields in parsed] == expected


def test_one_bad_record_in_a_well_formed_file_costs_only_itself() -> None:
    body = '0.jpg,1,"say ""hi"" to"\n1.jpg,1\n2.jpg,2,"""x"" and\n""y"""\n3.jpg,1,a,b\n4.jpg,1,z\n'
    parsed = records(body)
    assert parsed[0] == ["0.jpg", "1", 'say "hi" to']
    assert "3 fields" in parsed[1]
    assert parsed[2] == ["2.jpg", "2", '"x" and\n"y"']
    assert "3 fields" in parsed[3]
    assert parsed[4] == ["4.jpg", "1", "z"]
    assert lines(body) == [2, 3, 4, 6, 7]


@pytest.mark.timeout(30)  # seconds; where time grows with the square, it takes minutes
def test_reading_takes_time_in_proportion() -> None:
    line = '{}.jpg,1,"a "quoted" caption of some fifty characters"\n'
    assert len(records("".join(line.format(number) for number in range(40_000)))) == 40_000


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

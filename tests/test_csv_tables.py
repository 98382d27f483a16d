"""Records of CSVs as people hand them out."""

import csv
import io
from pathlib import Path

import pytest

from stages.csv_tables import parse, read

HEADER = "ImageID,Labels,Caption\n"


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


@pytest.mark.parametrize("body", ['0.jpg,1,"two\nlines"\n\n1.jpg,2,\n', '0.jpg,1,"a "b""\n1.jpg\n'])
def test_a_file_reads_as_its_text_does(body: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(HEADER + body, "utf-8-sig")
    (header, records), (expected, others) = read(tmp_path / "a.csv"), parse(HEADER + body)
    assert (header, list(records)) == (expected, list(others))


@pytest.mark.timeout(30)  # seconds; where time grows with the square, it takes minutes
def test_reading_takes_time_in_proportion() -> None:
    line = '{}.jpg,1,"a "quoted" caption of some fifty characters"\n'
    assert len(records("".join(line.format(number) for number in range(40_000)))) == 40_000

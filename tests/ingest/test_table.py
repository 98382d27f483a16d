from pathlib import Path
from typing import Any

import polars as pl
import pytest
from ruamel.yaml import YAML

from stages import UserError
from stages.ingest.sources import Row, Unreadable
from stages.ingest.sources.table import Options, rows
from tests.conftest import ROOT

OPTIONS: dict[str, Any] = YAML(typ="safe").load(ROOT / "params.yaml")["ingest"]["table"]


def read(root: Path, table: str | pl.DataFrame, **options: Any) -> list[Row | Unreadable]:
    if isinstance(table, str):
        (root / "photos.csv").write_bytes(table.encode())
        return list(rows(root, Options(**OPTIONS | options)))
    table.write_parquet(root / "photos.parquet")
    return list(rows(root, Options(**OPTIONS | {"file": "photos.parquet"} | options)))


def labels(listed: list[Row | Unreadable]) -> list[list[str] | None]:
    return [row.labels for row in listed]


def test_a_column_of_label_lists(tmp_path: Path) -> None:
    table = '\ufeffid,labels,caption\n007.jpg,cat  dog,"a ""b"",\nc"\n8.jpg,,\n9.jpg,cat,x\n'
    first, second, third = read(tmp_path, table, caption="caption")
    assert first == Row(
        "photos.csv", 2, "007.jpg", "photos/007.jpg", "train", ["cat", "dog"], 'a "b",\nc'
    )
    assert (second.labels, second.caption, second.row) == ([], None, 4)
    assert third.row == 5


@pytest.mark.parametrize("separator", ["|", ";", ", ", "::", "\t"])
def test_separators_of_labels(tmp_path: Path, separator: str) -> None:
    listed = read(tmp_path, f'id,labels\n1,"big cat{separator}dog"\n2,dog\n', separator=separator)
    assert labels(listed) == [["big cat", "dog"], ["dog"]]


@pytest.mark.parametrize("delimiter", ["\t", ";", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_delimiters_of_columns(tmp_path: Path, delimiter: str, end: str) -> None:
    table = end.join(["id,labels,caption", "1,cat dog,x", "2,cat,y"]).replace(",", delimiter)
    listed = read(tmp_path, table, delimiter=delimiter, caption="caption")
    assert labels(listed) == [["cat", "dog"], ["cat"]]
    assert [row.caption for row in listed] == ["x", "y"]


def test_one_hot_columns_of_a_csv(tmp_path: Path) -> None:
    table = "id,subset,cat,dog\n1,train,1,0\n2,train,0,0\n3,train,,\n4,test,,\n5,train,TRUE,1.0\n"
    listed = read(tmp_path, table, labels=None, subset="subset")
    assert labels(listed) == [["cat"], [], None, None, ["cat", "dog"]]
    assert [row.subset for row in listed] == ["train", "train", "train", "test", "train"]


def test_chosen_one_hot_columns(tmp_path: Path) -> None:
    listed = read(tmp_path, "id,width,dog,cat\n1,640,1,1\n", labels=["cat", "dog"])
    assert labels(listed) == [["cat", "dog"]]


def test_a_one_hot_cell_that_says_neither(tmp_path: Path) -> None:
    listed = read(tmp_path, "id,cat,dog\n1,1,0\n2,maybe,0\n3,1,\n", labels=None)
    assert isinstance(listed[0], Row)
    assert listed[1] == Unreadable(
        "photos.csv",
        3,
        "column cat is 'maybe', which is in none of ingest.table.positive, negative and unknown",
    )
    assert (listed[2].labels, listed[2].unknown) == (["cat"], ("dog",))


@pytest.mark.parametrize("type", [pl.Int64, pl.UInt8, pl.Float32, pl.Boolean, pl.String])
def test_one_hot_columns_of_a_parquet_file(tmp_path: Path, type: pl.DataType) -> None:
    table = pl.DataFrame({"id": [1, 2, 3], "cat": [1, 0, None], "dog": [1, 0, None]})
    listed = read(tmp_path, table.with_columns(pl.col("cat", "dog").cast(type)), labels=None)
    assert labels(listed) == [["cat", "dog"], [], None]
    assert [row.id for row in listed] == ["1", "2", "3"]


@pytest.mark.parametrize("type", [pl.List(pl.String), pl.Array(pl.String, 2)])
def test_label_lists_of_a_parquet_file(tmp_path: Path, type: pl.DataType) -> None:
    lists = [[3, 1], [1, None], None] if isinstance(type, pl.Array) else [[3, 1], [], None]
    table = pl.DataFrame(
        {"id": ["a", "b", "c"], "labels": pl.Series(lists).cast(type), "caption": ["x", "", None]}
    )
    listed = read(tmp_path, table, caption="caption")
    assert labels(listed) == [["3", "1"], ["1"] if lists[1] else [], None]
    assert [row.caption for row in listed] == ["x", "", None]
    assert [row.row for row in listed] == [1, 2, 3]


def test_rows_too_short_or_too_long_are_set_aside(tmp_path: Path) -> None:
    listed = read(tmp_path, 'id,labels\n1,cat\n2\n\n3,cat,dog\n4,"x"y\n5,dog\n')
    assert [row.row for row in listed] == [2, 3, 5, 6, 7]
    assert [isinstance(row, Row) for row in listed] == [True, False, False, False, True]
    assert listed[1].reason == "1 cells where the header has 2"
    assert listed[2].reason == "3 cells where the header has 2"
    assert labels([listed[4]]) == [["dog"]]


def test_rows_without_id_or_with_an_unknown_subset(tmp_path: Path) -> None:
    listed = read(tmp_path, "id,labels,part\n,cat,train\n2,cat,all\n3,cat,\n", subset="part")
    assert [row.row for row in listed] == [2, 3, 4]
    assert listed[0].reason == "the id is empty"
    assert "the subset is 'all'; it must be one of train, training" in listed[1].reason
    assert "the subset is ''" in listed[2].reason


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        ('id,labels\n1,"cat\n2,dog\n3,dog\n', {}, "row 2: a cell's quote seems not to be closed"),
        ('id,labels\n1,"cat\n2,"dog"\n3,dog\n', {}, "row 2: a cell's quote seems not"),
        ("id,labels,labels\n1,a,b\n", {}, "2 columns named 'labels'"),
        ("id,cat,cat\n1,1,0\n", {"labels": None}, "2 columns named 'cat'"),
        ("name,labels\n1,a\n", {}, "has no column 'id'; it has name, labels"),
        ("id,labels\n1,a\n", {"caption": "text"}, "has no column 'text'"),
        ("id;labels\n1;a\n", {"delimiter": ","}, "has no column 'id'; it has id;labels"),
        ("id:labels\n1:a\n", {}, "has no column 'id'; it has id:labels"),
        ("id\n1\n", {"labels": None}, "no column of labels beside id"),
        ("", {}, "has no column 'id'"),
        ('"id', {}, "the header is not CSV"),
    ],
)
def test_a_file_that_is_not_as_said(
    tmp_path: Path, table: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError) as error:
        read(tmp_path, table, **options)
    assert message in str(error.value)
    assert str(tmp_path / "photos.csv") in str(error.value)


@pytest.mark.parametrize("file", ["photos.csv", "photos.parquet"])
def test_a_missing_file(tmp_path: Path, file: str) -> None:
    with pytest.raises(UserError, match=f"{file} does not exist"):
        list(rows(tmp_path, Options(**OPTIONS | {"file": file})))


def test_a_file_that_is_no_parquet(tmp_path: Path) -> None:
    (tmp_path / "photos.parquet").write_text("id,labels\n")
    with pytest.raises(UserError, match="cannot be read as Parquet"):
        list(rows(tmp_path, Options(**OPTIONS | {"file": "photos.parquet"})))

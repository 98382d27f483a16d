from pathlib import Path

import numpy as np
import polars as pl
import pytest

from stages.ingest import records

NAMES = ["2", "10", "cat"]


def frame(labels: list[list[str] | None]) -> pl.DataFrame:
    rows = [
        {
            "id": f"{number}.jpg",
            "subset": "train",
            "labels": names,
            "caption": None,
            "width": 3,
            "height": 2,
            "sha256": "ab",
            "dhash": 2**64 - 1,
            "image": number,
            "delivery": 0,
        }
        for number, names in enumerate(labels)
    ]
    return pl.DataFrame(rows, schema=records.SCHEMA)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    written = frame([["10", "cat"], [], None])
    records.write(written, NAMES, tmp_path / "records.parquet")
    read = records.read(tmp_path / "records.parquet")
    assert read.schema == records.SCHEMA | records.OPTIONAL
    assert read.select(written.columns).equals(written, null_equal=True)
    assert read.select(records.OPTIONAL.names()).null_count().row(0) == (3, 3, 3, 3)
    assert read["labels"].to_list() == [["10", "cat"], [], None]
    assert records.read_label_names(tmp_path / "records.parquet") == NAMES


def test_columns_that_a_photo_has_something_in_are_written(tmp_path: Path) -> None:
    path = tmp_path / "records.parquet"
    unknown = pl.Series([["cat"], None, None], dtype=pl.List(pl.String))
    group = pl.Series([None] * 3, dtype=pl.String)
    written = frame([["10"], [], None]).with_columns(group=group, unknown=unknown)
    records.write(written, NAMES, path)
    assert pl.read_parquet_schema(path) == records.SCHEMA | {"unknown": pl.List(pl.String)}
    known = records.known_matrix(records.read(path)["unknown"], NAMES)
    assert known is not None
    assert [NAMES[column] for column in (~known[0]).nonzero()[0]] == ["cat"]
    assert known[1:].all()
    assert records.known_matrix(unknown[1:], NAMES) is None


def test_the_same_records_are_the_same_bytes(tmp_path: Path) -> None:
    many = frame([["10"], [], None, ["cat"]] * 2000)
    for name in ("a", "b"):
        records.write(many, NAMES, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_frame_of_other_columns_is_no_record(tmp_path: Path) -> None:
    with pytest.raises(pl.exceptions.PolarsError):
        records.write(frame([[]]).drop("sha256"), NAMES, tmp_path / "records.parquet")
    assert list(tmp_path.iterdir()) == []


def test_natural_order() -> None:
    names = ["im10", "2", "b", "10", "im9", "01", "1", "", "im9b", "im"]
    expected = ["", "01", "1", "2", "10", "b", "im", "im9", "im9b", "im10"]
    assert records.in_natural_order(names) == expected


def test_label_matrix_and_lists() -> None:
    labels = pl.Series([["cat", "2"], [], ["10"], ["2"]])
    matrix = records.label_matrix(labels, NAMES)
    assert matrix.dtype == bool
    assert matrix.astype(int).tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0], [1, 0, 0]]
    assert records.label_lists(matrix, NAMES).to_list() == [["2", "cat"], [], ["10"], ["2"]]


def test_label_matrix_of_nothing() -> None:
    empty = pl.Series([], dtype=pl.List(pl.String))
    assert records.label_matrix(empty, NAMES).shape == (0, 3)
    none_at_all = records.label_matrix(pl.Series([[], []], dtype=pl.List(pl.String)), NAMES)
    assert not none_at_all.any()
    lists = records.label_lists(np.zeros((0, 3), bool), NAMES)
    assert (len(lists), lists.dtype) == (0, pl.List(pl.String))

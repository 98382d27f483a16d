"""``data/validation.parquet`` says which labels are unknown, and is what it was where none are."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from stages.ingest.records import known_matrix
from stages.network.probabilities import (
    probability_table,
    read_label_names,
    read_probabilities,
    write_probabilities,
)

NAMES = ["cat", "dog"]
IDS = pl.Series(["a.jpg", "b.jpg", "c.jpg"])
LABELS = pl.Series([["cat"], [], None], dtype=pl.List(pl.String))
PROBABILITIES = np.array([[0.9, 0.2], [0.1, 0.4], [0.5, 0.5]], np.float32)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "table.parquet"


def test_unknown_labels_are_read_back(file: Path):
    unknown = pl.Series([None, ["dog"], None], dtype=pl.List(pl.String))
    write_probabilities(probability_table(IDS, LABELS, PROBABILITIES, unknown), NAMES, file)
    table = read_probabilities(file)
    assert read_label_names(file) == NAMES
    assert table["labels"].to_list() == [["cat"], [], None]
    known = known_matrix(table["unknown"], NAMES)
    assert known is not None and known.tolist() == [[True, True], [True, False], [True, True]]


def test_where_all_is_known_the_file_has_no_such_column(file: Path):
    nothing = pl.Series([None] * 3, dtype=pl.List(pl.String))
    write_probabilities(probability_table(IDS, LABELS, PROBABILITIES), NAMES, file)
    first = file.read_bytes()
    assert pl.read_parquet(file).columns == ["id", "labels", "probabilities"]
    assert read_probabilities(file)["unknown"].to_list() == [None] * 3
    write_probabilities(probability_table(IDS, LABELS, PROBABILITIES, nothing), NAMES, file)
    assert file.read_bytes() == first

from pathlib import Path

import polars as pl
import pytest

from stages.ingest import spool
from stages.ingest.spool import Spool

SCHEMA = pl.Schema({"id": pl.String, "labels": pl.List(pl.String)})


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "PART", 4)


@pytest.mark.parametrize("count", [0, 1, 4, 11])
def test_rows_come_back_in_parts_and_in_order(tmp_path: Path, count: int) -> None:
    rows = [(f"{number}.jpg", [str(number)] if number % 3 else None) for number in range(count)]
    table = Spool(SCHEMA, tmp_path / "rows")
    for row in rows:
        table.append(row)
    assert [len(part) for part in table.parts()] == [4] * (count // 4) + [count % 4] * (
        count % 4 > 0
    )
    assert [row for part in table.parts() for row in part.iter_rows()] == rows
    collected = table.scan().collect()
    assert (collected.rows(), collected.schema) == (rows, SCHEMA)


def test_rows_and_parts_may_be_mixed(tmp_path: Path) -> None:
    table = Spool(SCHEMA, tmp_path / "rows")
    table.append(("a", []))
    table.extend(pl.DataFrame({"id": ["b", "c"], "labels": [["x"], None]}, SCHEMA))
    table.append(("d", None))
    assert table.scan().collect()["id"].to_list() == ["a", "b", "c", "d"]
    with pytest.raises(pl.exceptions.SchemaError):
        table.extend(pl.DataFrame({"id": ["e"]}))

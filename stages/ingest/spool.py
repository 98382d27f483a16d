"""A table on disk that grows by rows, and of which only a part is in memory at a time."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

PART = 8192  # rows


class Spool:
    """Rows in files, each with a part of them; for this process alone.

    Args:
        schema: of the rows.
        folder: a new one for the files.
    """

    def __init__(self, schema: pl.Schema, folder: Path) -> None:
        self.schema, self._folder = schema, folder
        self._rows: list[tuple[Any, ...]] = []  # not yet in a file
        self._files: list[Path] = []
        folder.mkdir()

    def append(self, row: tuple[Any, ...]) -> None:
        """Adds a row, its values in the order of the schema."""
        self._rows.append(row)
        if len(self._rows) == PART:
            self._write_rows()

    def extend(self, rows: pl.DataFrame) -> None:
        """Adds ``rows``, whose columns are those of the schema, as one part."""
        self._write_rows()
        self._files.append(self._folder / f"{len(self._files)}.arrow")
        rows.match_to_schema(self.schema).write_ipc(self._files[-1])

    def parts(self) -> Iterator[pl.DataFrame]:
        """All rows in order, a part at a time."""
        self._write_rows()
        for file in self._files:
            yield pl.read_ipc(file)

    def scan(self) -> pl.LazyFrame:
        """All rows in order, read when they are needed."""
        self._write_rows()
        if not self._files:
            return pl.LazyFrame(schema=self.schema)
        return pl.scan_ipc(self._files)

    def _write_rows(self) -> None:
        if self._rows:
            rows = pl.DataFrame(zip(*self._rows, strict=True), self.schema, orient="col")
            self._rows.clear()
            self.extend(rows)

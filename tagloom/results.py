"""Labels and probabilities of photos, written as they come: for people and for programs."""

import csv
import io
import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol, TextIO

import numpy as np

from stages import printable
from stages.files import whole
from stages.ingest.records import separator
from tagloom.options import Format

WIDEST = 48  # characters of the table's first column
PART = 8192  # rows of a Parquet file that are in memory


class Answers(NamedTuple):
    """What a model says of n photos.

    Attributes:
        names: of the photos, as they were asked for.
        probabilities: float32, (n, labels).
        holds: bool, (n, labels).
    """

    names: Sequence[str]
    probabilities: np.ndarray
    holds: np.ndarray


class Writer(Protocol):
    """Takes answers as they come."""

    def write(self, answers: Answers) -> None: ...


@contextmanager
def writer(
    form: Format, output: Path | None, stdout: TextIO, labels: list[str], top: int | None
) -> Iterator[Writer]:
    """A writer to the file ``output``, whole or not at all, or, with None, to ``stdout``.

    Args:
        labels: names of the probabilities' columns.
        top: how many of the most probable labels to write; None: those that hold, and all
            probabilities.
    """
    if output is None:
        if isinstance(stdout, io.TextIOWrapper):
            stdout.reconfigure(errors="backslashreplace")  # where it can take only few letters
        with _TEXTS[form](stdout, labels, top) as text:
            yield text
        return
    with whole(output) as temporary:
        if form == "parquet":
            with _Parquet(temporary, labels) as table:
                yield table
            return
        with (
            temporary.open("w", encoding="utf-8", newline="\n") as file,
            _TEXTS[form](file, labels, top) as text,
        ):
            yield text


class _Text:
    """Writes a row a photo to a text file; subclasses say how a row looks."""

    def __init__(self, file: TextIO, labels: list[str], top: int | None) -> None:
        self._file, self._labels, self._top = file, labels, top

    def __enter__(self) -> "_Text":
        self._start()
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is None:
            self._end()
            self._file.flush()

    def write(self, answers: Answers) -> None:
        for answer in zip(*answers, strict=True):
            self._row(*answer)
        self._file.flush()

    def _start(self) -> None: ...
    def _end(self) -> None: ...
    def _row(self, name: str, probabilities: np.ndarray, holds: np.ndarray) -> None: ...

    def _held(self, probabilities: np.ndarray, holds: np.ndarray) -> list[int]:
        """The labels that hold, the most probable first."""
        return [n for n in np.argsort(-probabilities, kind="stable") if holds[n]]

    def _highest(self, probabilities: np.ndarray) -> list[int]:
        """The ``top`` most probable labels."""
        return np.argsort(-probabilities, kind="stable")[: self._top].tolist()


class _Table(_Text):
    """A line a photo. With ``top``, labels that do not hold stand in brackets."""

    _width = 0

    def write(self, answers: Answers) -> None:
        # The first answers decide how wide the first column is; the others are not there yet.
        longest = max((len(in_a_line(name)) for name in answers.names), default=0)
        self._width = self._width or min(WIDEST, longest)
        super().write(answers)

    def _row(self, name: str, probabilities: np.ndarray, holds: np.ndarray) -> None:
        order = self._highest if self._top else lambda p: self._held(p, holds)
        labels = [
            text if holds[n] else f"({text})"
            for n in order(probabilities)
            for text in [f"{in_a_line(self._labels[n])} {probabilities[n]:.2f}"]
        ]
        print(f"{in_a_line(name):{self._width}}  {', '.join(labels) or '–'}", file=self._file)


class _Csv(_Text):
    """``photo``, ``labels`` as data/predictions.csv has them, and probabilities."""

    def _start(self) -> None:
        self._writer = csv.writer(self._file, lineterminator="\n")
        if self._top:
            places = range(1, min(self._top, len(self._labels)) + 1)
            more = [f"{what} {n}" for n in places for what in ("label", "probability")]
        else:
            more = [f"probability of {label}" for label in self._labels]
        self._writer.writerow(["photo", "labels", *more])
        self._separator = separator(self._labels)

    def _row(self, name: str, probabilities: np.ndarray, holds: np.ndarray) -> None:
        held = [self._labels[n] for n in np.flatnonzero(holds)]
        if self._top:
            cells = [
                cell
                for n in self._highest(probabilities)
                for cell in (self._labels[n], _rounded(probabilities[n]))
            ]
        else:
            cells = [_rounded(probability) for probability in probabilities]
        self._writer.writerow([name, self._separator.join(held), *cells])


class _Json(_Text):
    """An array; each object of it is on a line of its own."""

    _between = "\n"

    def _start(self) -> None:
        self._file.write("[")

    def _row(self, name: str, probabilities: np.ndarray, holds: np.ndarray) -> None:
        order = self._highest(probabilities) if self._top else range(len(self._labels))
        answer = {
            "photo": name,
            "labels": [self._labels[n] for n in np.flatnonzero(holds)],
            "probabilities": {self._labels[n]: _rounded(probabilities[n]) for n in order},
        }
        self._file.write(self._between + json.dumps(answer, ensure_ascii=False))
        self._between = ",\n"

    def _end(self) -> None:
        self._file.write("\n]\n")


_TEXTS = {"table": _Table, "csv": _Csv, "json": _Json}


class _Parquet:
    """``photo``, ``labels`` and ``probabilities``, the labels' names in the file's metadata.

    What ``stages.network.probabilities`` reads of data/predictions.parquet it reads of this.
    """

    def __init__(self, path: Path, labels: list[str]) -> None:
        import polars as pl

        from stages.ingest.spool import Spool

        self._path, self._labels = path, labels
        self._schema = pl.Schema(
            {
                "photo": pl.String(),
                "labels": pl.List(pl.String),
                "probabilities": pl.Array(pl.Float32, len(labels)),
            }
        )
        self._room = tempfile.TemporaryDirectory(dir=path.parent)
        self._spool = Spool(self._schema, Path(self._room.name) / "parts")
        self._parts: list[pl.DataFrame] = []

    def __enter__(self) -> "_Parquet":
        return self

    def __exit__(self, *error: object) -> None:
        with self._room:
            if error[0] is None:
                self._write_part()
                metadata = {"labels": json.dumps(self._labels)}
                self._spool.scan().sink_parquet(
                    self._path, metadata=metadata, row_group_size=PART * 8
                )

    def write(self, answers: Answers) -> None:
        import polars as pl

        from stages.ingest.records import label_lists

        columns = {
            "photo": answers.names,
            "labels": label_lists(answers.holds, self._labels),
            "probabilities": answers.probabilities,
        }
        self._parts.append(pl.DataFrame(columns, self._schema))
        if sum(map(len, self._parts)) >= PART:
            self._write_part()

    def _write_part(self) -> None:
        import polars as pl

        if self._parts:
            self._spool.extend(pl.concat(self._parts))
            self._parts.clear()


def in_a_line(text: str) -> str:
    """``text``, printable, in one line."""
    return printable(text).replace("\n", "\\n")


def _rounded(probability: np.floating) -> float:
    return round(float(probability), 6)

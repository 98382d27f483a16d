"""Arrays that take hours to compute, kept part by part: a killed run goes on with the rest."""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap

from stages.files import alone, write_json
from stages.progress import Progress

ROWS, STATE = "rows.npy", "state.json"
SECONDS_BETWEEN_KEEPING = 60


def array(
    folder: Path, rows: int, compute: Callable[[int], Iterator[np.ndarray]], what: str
) -> tuple[np.ndarray, float]:
    """An array of at least one row that is computed once, and the seconds that it took.

    Whoever wants the same waits for the one that is at it.

    Args:
        folder: where it is kept; its name has to say all that decides what the array is.
        compute: its parts, (n, …), from a row on at which one of them began.
        what: is done, for the progress.

    Returns:
        (rows, …), of the type of the parts, read-only, mapped from disk.
    """
    with alone(folder):
        if not folder.exists():
            begun = folder.with_name(f"{folder.name}.begun")
            _finish(begun, rows, compute, what)
            begun.rename(folder)
        _, seconds = _state(folder)
        return np.load(folder / ROWS, mmap_mode="r"), seconds


def remove(folder: Path) -> None:
    """Removes what ``array`` keeps there; who has the array keeps it."""
    with alone(folder):
        shutil.rmtree(folder, ignore_errors=True)


def _finish(
    folder: Path, rows: int, compute: Callable[[int], Iterator[np.ndarray]], what: str
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    # Whoever clears the cache of what is large may leave the state behind.
    done, before = _state(folder) if (folder / ROWS).exists() else (0, 0.0)
    kept = open_memmap(folder / ROWS, "r+") if done else None
    started = last = time.perf_counter()
    with Progress(what, rows, "photos", done) as progress:
        for part in compute(done):
            if kept is None:
                kept = _room_for(folder / ROWS, (rows, *part.shape[1:]), part.dtype)
            kept[done : done + len(part)] = part
            done += len(part)
            progress.advance(len(part))
            now = time.perf_counter()
            if done == rows or now - last >= SECONDS_BETWEEN_KEEPING:
                kept.flush()  # first, so that what the state counts is there
                write_json(folder / STATE, [done, before + now - started])
                last = now


def _room_for(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> np.memmap:
    """A file for such an array; an ``OSError`` where the disk has no room for it.

    Else it would take its room as it is written to, and a disk that is full then ends the process
    without a word.
    """
    array = open_memmap(path, "w+", dtype, shape)
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def _state(folder: Path) -> tuple[int, float]:
    """How many rows are done, and in how many seconds."""
    try:
        done, seconds = json.loads((folder / STATE).read_text("utf-8"))
    except FileNotFoundError:
        return 0, 0.0
    return done, seconds

"""How much more memory stages take when there are ten times as many rows.

Each photo is listed ten times, under ten names. Counted is what a stage and its children hold at
the most, what they share once: the pages of the image store, which the kernel takes back when
others need them, are not.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from benchmarks.table import Options, Row, main
from benchmarks.workspace import Workspace

TIMES = 10
# Flat where photos pass through; the others may grow like the rows.
GOALS = {"ingest": "≤ 1.2", "split": f"≤ {TIMES}", "train": "≤ 1.2", "predict": f"≤ {TIMES}"}
STAGES = ("ingest", "split", "vocab", "train", "threshold", "bundle", "predict")
SECONDS_BETWEEN_LOOKS = 0.25
CHANGES: dict[str, Any] = {
    "ingest": {"image_size": 48},
    "train": {"inputs": "image+caption", "backbone": "small_cnn", "epochs": 1},
    "bundle": {"onnx": False},
}


def rows(options: Options) -> Iterator[Row]:
    if options.gpu:
        return
    less, more = (peaks(options, times) for times in (1, TIMES))
    added = options.photos * (TIMES - 1)
    for stage, goal in GOALS.items():
        a_row = (more[stage] - less[stage]) / added
        yield Row(
            f"memory of {stage}, {TIMES * options.photos:,} rows",
            f"{options.photos:,} rows",
            "MB",
            [more[stage] / 2**20],
            [less[stage] / 2**20],
            goal,
            f"{max(a_row, 0) / 1000:.2g} kB for each row more",
        )


def peaks(options: Options, times: int) -> dict[str, int]:
    """The most memory of each stage, in bytes, when each photo is listed so many times."""
    with tempfile.TemporaryDirectory(prefix="tagloom-") as name:
        workspace = Workspace(Path(name), times * options.photos, options, CHANGES, repeat=times)
        return {stage: peak(workspace.start(stage)) for stage in STAGES}


def peak(process: subprocess.Popen) -> int:
    """The most memory that a process and its children hold until it ends, in bytes."""
    most = 0
    with process:
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            with suppress(psutil.Error, OSError):  # ended meanwhile
                family = (watched, *watched.children(recursive=True))
                most = max(most, sum(held(each.pid) for each in family))
            time.sleep(SECONDS_BETWEEN_LOOKS)
    if process.returncode:
        sys.exit(f"{process.args!r} failed; see above")
    return most


def held(pid: int) -> int:
    """Bytes that belong to no file; of pages that n processes share, an n-th counts."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines()
    own = ("Pss_Anon:", "Pss_Shmem:")
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(own))


if __name__ == "__main__":
    main(rows, __file__)

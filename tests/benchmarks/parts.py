"""Benchmarks that end in every way; nothing is imported that takes long."""

import os
import signal
import subprocess
from collections.abc import Iterator

from benchmarks.table import Options, Row

FOUND = Row("speed", "peer", "s", [1.0], [2.0], "≤ 0.6")
SECONDS = 60  # that one hangs


def whole(options: Options) -> Iterator[Row]:
    yield FOUND
    yield Row("what it was asked", "", "", [options.photos], [options.repeats])


def failing(options: Options) -> Iterator[Row]:
    yield FOUND
    raise RuntimeError("out of | paper")


def killed(options: Options) -> Iterator[Row]:
    yield FOUND
    os.kill(os.getpid(), signal.SIGKILL)


def hanging(options: Options) -> Iterator[Row]:
    yield FOUND
    subprocess.run(["sleep", str(SECONDS)], check=True)

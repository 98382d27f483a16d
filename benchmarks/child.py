"""A benchmark in a process of its own, and its rows as they come.

So it has neither the memory nor the threads of the one before, and where it fails, or is not done
in time, the rows before are there and the next benchmark runs. Nothing here imports what a bare
Python has not.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from threading import Timer
from typing import IO

from benchmarks.table import Options, Row

ROOT = Path(__file__).parents[1]


class Failed(Exception):
    """A benchmark that did not come to its end; says how it ended."""


def rows_of(
    source: str,
    options: Options,
    seconds: float | None = None,
    log: IO[bytes] | None = None,
    environment: dict[str, str] | None = None,
) -> Iterator[Row]:
    """Yields the rows of a benchmark as it finds them.

    Args:
        source: ``MODULE:FUNCTION``; the function, like ``rows``, makes rows of options.
        seconds: after which it is ended, with all that it has started; None: never.
        log: takes what it says; None: what it prints is dropped, and errors go to the terminal.
        environment: of the process, added to this one's.

    Raises:
        Failed: it did not come to its end.
    """
    reading, writing = os.pipe()
    content = json.dumps(asdict(options), default=str)
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.child", source, str(writing), content],
        cwd=ROOT,
        env=os.environ | (environment or {}),
        stdin=subprocess.DEVNULL,
        stdout=log or subprocess.DEVNULL,
        stderr=log,
        pass_fds=[writing],
        start_new_session=True,
    )
    os.close(writing)
    late: list[bool] = []

    def end() -> None:
        late.append(True)
        kill(process)

    timer = Timer(seconds or 0, end)
    try:
        if seconds is not None:
            timer.start()
        with os.fdopen(reading, encoding="utf-8") as lines:
            for line in lines:
                yield Row(**json.loads(line))
        status = process.wait()
    finally:
        timer.cancel()
        kill(process)
    if late:
        raise Failed(f"not done after {seconds:.0f} s")
    if status:
        raise Failed(f"ended by {signal.Signals(-status).name}" if status < 0 else "failed")


def kill(process: subprocess.Popen) -> None:
    """Ends a process and those of its session, if any is left."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def main() -> None:
    source, pipe, content = sys.argv[1:]
    os.set_inheritable(int(pipe), False)  # it ends with this process, whatever that starts
    given = json.loads(content)
    given["shared"] = Path(given["shared"]) if given["shared"] else None
    module, _, function = source.partition(":")
    with os.fdopen(int(pipe), "w", encoding="utf-8") as rows:
        for row in getattr(import_module(module), function)(Options(**given)):
            print(json.dumps(asdict(row)), file=rows, flush=True)


if __name__ == "__main__":
    main()

"""A benchmark in a process of its own, and its rows as they come.

So it has neither the memory nor the threads of the one before, and where it fails, or is not done
in time, the rows before are there and the next benchmark runs. Nothing here imports what a bare
Python has not.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import IO

from benchmarks.table import Options, Row

PATIENCE = 10  # seconds, with what was killed


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
        env=os.environ | (environment or {}),
        stdin=subprocess.DEVNULL,
        stdout=log or subprocess.DEVNULL,
        stderr=log,
        pass_fds=[writing],
        start_new_session=True,
    )
    os.close(writing)
    end = None if seconds is None else time.monotonic() + seconds
    try:
        yield from rows_in(reading, end)
        status = process.wait(left_until(end))
    except (TimeoutError, subprocess.TimeoutExpired) as error:
        raise Failed(f"not done after {seconds:.0f} s") from error
    finally:
        os.close(reading)
        kill(process)
    if status:
        raise Failed(f"ended by {signal.Signals(-status).name}" if status < 0 else "failed")


def rows_in(pipe: int, end: float | None) -> Iterator[Row]:
    """Yields rows as they come through a pipe.

    Args:
        end: when to give up, by the monotonic clock; None: never.

    Raises:
        TimeoutError: the pipe is still open then.
    """
    begun = b""
    while True:
        if not select.select([pipe], [], [], left_until(end))[0]:
            raise TimeoutError
        if not (more := os.read(pipe, 2**16)):
            return
        *lines, begun = (begun + more).split(b"\n")
        for line in lines:
            yield Row(**json.loads(line))


def left_until(end: float | None) -> float | None:
    return None if end is None else max(0.0, end - time.monotonic())


def kill(process: subprocess.Popen) -> None:
    """Ends a process and those of its session; one that not even that ends is left to itself."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        process.wait(PATIENCE)


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

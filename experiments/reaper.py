"""Ends a process group when the process that holds the other end of stdin lets go or is gone.

A flow run may be killed outright (by Prefect, for want of memory), and what it started would go
on holding the GPU. This small program outlives it. First line of stdin: the group's id; a second
line says that all went well and nothing is to be ended.
"""

import os
import signal
import sys
import time
from contextlib import suppress

import psutil

GRACE = 5.0  # seconds to end after SIGINT, and again after SIGTERM, before SIGKILL


def main() -> None:
    group, done = sys.stdin.readline(), sys.stdin.readline()
    if group and not done:
        end(int(group))


def end(group: int) -> None:
    """Ends the group; first as Ctrl-C does, so that DVC can give its locks back."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(group, number)
        deadline = time.monotonic() + GRACE
        while time.monotonic() < deadline:
            if not alive(group):
                return
            time.sleep(0.05)


def alive(group: int) -> bool:
    """Whether a process of the group runs; one that nobody has waited for yet does not."""
    for process in psutil.process_iter():
        with suppress(ProcessLookupError, psutil.NoSuchProcess):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                return True
    return False


if __name__ == "__main__":
    main()

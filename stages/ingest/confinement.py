"""What a process that decodes may use: memory by a limit of the system's, and seconds for a photo.

Nothing but the end of its process ends a decoder, which is a library in C and may loop. The timer
that ends it counts the seconds of its work, not those on the clock, so that no photo is set aside
because the machine was busy.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SECONDS = 30.0  # of a core; the slowest honest photo, JPEG 2000 of 89 megapixels, takes 23
SLACK = 2**28  # bytes beside a photo: the interpreter's, and what stays of photos before

# What ends a process at a photo, and so is that photo's fault.
CRASHES = ("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT")
FATAL = {getattr(signal, name) for name in ("SIGPROF", *CRASHES) if hasattr(signal, name)}


def reason(ended_by: int) -> str:
    """Why a photo is none, at which the decoder's process was ended by this signal."""
    if ended_by == getattr(signal, "SIGPROF", None):
        return f"decoding it takes longer than {SECONDS:g} s"
    return f"its decoder was ended by signal {ended_by}, as where memory is short"


@contextmanager
def deadline(seconds: float = SECONDS) -> Iterator[None]:
    """Ends this process by SIGPROF where the block takes longer; in the main thread alone."""
    if sys.platform == "win32":
        yield
        return
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def limit_memory(most: int) -> None:
    """Lets this process have ``most`` bytes more than it has, beside ``SLACK``; on Linux."""
    if sys.platform == "linux":
        import resource

        pages = int(Path("/proc/self/statm").read_text("ascii").split()[5])  # data and stack
        limit = pages * os.sysconf("SC_PAGE_SIZE") + most + SLACK
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        if hard in (resource.RLIM_INFINITY, -1) or limit < hard:
            resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))

"""What a process that decodes may use: memory by a limit of the system's, and seconds for a photo.

Nothing but the end of its process ends a decoder, which is a library in C and may loop. The timer
that ends it counts the seconds of its work, not those on the clock, so that no photo is set aside
because the machine was busy. One that waits for ever, as for a thread of its own, works for none:
the clock counts as well, up to far more.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

SECONDS = 30.0  # of a core; the slowest honest photo, JPEG 2000 of 89 megapixels, takes 23
HUNG = 20 * SECONDS  # on the clock, while it waits neither for its file nor for other photos
SLACK = 2**28  # bytes beside a photo: the interpreter's, and what stays of photos before

# What ends a process at a photo, and so is that photo's fault: a deadline, or a crash.
ENDS = ("SIGPROF", "SIGALRM", "SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT")
FATAL = {getattr(signal, name) for name in ENDS if hasattr(signal, name)}


def reason(ended_by: int) -> str:
    """Why a photo is none, at which the decoder's process was ended by this signal."""
    if ended_by == getattr(signal, "SIGPROF", None):
        return f"decoding it takes longer than {SECONDS:g} s"
    if ended_by == getattr(signal, "SIGALRM", None):
        return f"its decoder hung for {HUNG:g} s"
    return f"its decoder was ended by signal {ended_by}, as where memory is short"


def deadline(seconds: float = SECONDS) -> AbstractContextManager[None]:
    """Ends this process by SIGPROF where the block works for longer."""
    return _timer("ITIMER_PROF", seconds)


def clock_deadline(seconds: float = HUNG) -> AbstractContextManager[None]:
    """Ends this process by SIGALRM where the block takes longer, ``stopped_clock`` aside."""
    return _timer("ITIMER_REAL", seconds)


def stopped_clock() -> AbstractContextManager[None]:
    """A block that ``clock_deadline`` does not count."""
    return _timer("ITIMER_REAL", 0)


@contextmanager
def _timer(name: str, seconds: float) -> Iterator[None]:
    """Sets one of the process's timers for the block; after it goes on what was set before."""
    if sys.platform == "win32":
        yield
        return
    timer = getattr(signal, name)
    before, _ = signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        signal.setitimer(timer, before)


def limit_memory(most: int) -> None:
    """Lets this process have ``most`` bytes more than it has, beside ``SLACK``; on Linux."""
    if sys.platform == "linux":
        import resource

        pages = int(Path("/proc/self/statm").read_text("ascii").split()[5])  # data and stack
        limit = pages * os.sysconf("SC_PAGE_SIZE") + most + SLACK
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        if hard in (resource.RLIM_INFINITY, -1) or limit < hard:
            resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))

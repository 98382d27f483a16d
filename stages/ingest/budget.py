"""How much memory decoders may take, all of them together, of the memory there is.

Each of them may take a small share at any time. A photo that needs more is decoded alone among such
photos; the others wait. Which photos are read therefore hangs on the memory there is, but not on
how many are decoded at once.
"""

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import psutil

from stages.ingest.images import UnreadablePhoto

MB = 2**20
FOR_DECODERS = 0.5  # of the memory there is; the rest is for the network, caches, other programs
FOR_SHARES = 0.25  # of that

GROUPS = Path("/proc/self/cgroup")
MOUNT = Path("/sys/fs/cgroup")


class Budget:
    """What the decoders of a process, and of its forks, may take together.

    Args:
        total: in bytes; None: ``FOR_DECODERS`` of the memory there is.
        decoders: that work at once.
        file: has the lock of whoever decodes a large photo; None: a new one.

    Attributes:
        share: bytes that each may take at any time.
        most: bytes that a photo may take, alone.
    """

    def __init__(self, decoders: int, total: int | None = None, file: IO | None = None) -> None:
        total = total or int(FOR_DECODERS * memory())
        self.share = int(FOR_SHARES * total) // decoders
        self.most = total - int(FOR_SHARES * total)
        self.file = file or _anonymous_file()
        self._thread = threading.Lock()

    @contextmanager
    def room(self, needed: int) -> Iterator[None]:
        """Waits until there are ``needed`` bytes, which are taken while the block runs.

        Raises:
            UnreadablePhoto: there never will be.
        """
        if needed > self.most:
            raise UnreadablePhoto(
                f"decoding it takes {needed / MB:,.0f} MB of memory, and {self.most / MB:,.0f} MB "
                "are there for that; make it smaller, or use a machine or container with more"
            )
        if needed <= self.share:
            yield
            return
        with self._thread, _alone(self.file):
            yield


@contextmanager
def _alone(file: IO) -> Iterator[None]:
    """Waits for the lock of a file among processes. It ends with its process, however that ends."""
    try:
        import fcntl
    except ImportError:  # Windows, where decoders are threads
        yield
        return
    fcntl.lockf(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.lockf(file, fcntl.LOCK_UN)


def _anonymous_file() -> IO:
    if hasattr(os, "memfd_create"):  # needs no folder that can be written to
        return os.fdopen(os.memfd_create("tagloom-decoders"), "wb")
    return tempfile.TemporaryFile()


def memory() -> int:
    """Bytes that this process may have: those of the machine, or of its control groups."""
    limits = [psutil.virtual_memory().total]
    with suppress(OSError):  # there are none
        for line in GROUPS.read_text("utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers == "":
                limits += _limits(MOUNT, path, "memory.max")
            elif "memory" in controllers.split(","):
                limits += _limits(MOUNT / "memory", path, "memory.limit_in_bytes")
    return min(limits)


def _limits(mount: Path, path: str, name: str) -> Iterator[int]:
    """The limits of a control group and of those that it is in; in a container it is the root."""
    group = mount / path.strip("/")
    for folder in (group, *group.parents):
        with suppress(OSError, ValueError):  # not seen from here; "max"
            yield int((folder / name).read_text("ascii"))
        if folder == mount:
            return

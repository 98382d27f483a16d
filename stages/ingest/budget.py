"""How much memory decoders may take, all of them together, of the memory there is.

Each of them may take a small share at any time. A photo that needs more is decoded alone among such
photos; the others wait. Which photos are read therefore hangs on the memory there is, but not on
how many are decoded at once.
"""

import ctypes
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from PIL import Image

from stages.ingest.confinement import stopped_clock
from stages.ingest.images import UnreadablePhoto

MB = 2**20
FOR_DECODERS = 0.5  # of the memory there is; the rest is for the network, caches, other programs
FOR_SHARES = 0.25  # of that
KEPT = 64 * MB  # of a photo, for the next; what is freed of a larger one goes back to the system

GROUPS = Path("/proc/self/cgroup")
MOUNT = Path("/sys/fs/cgroup")


class Budget:
    """What the decoders of a process, and of its forks, may take together.

    Args:
        total: in bytes; None: ``for_decoders``.
        decoders: that work at once.
        descriptor: of the file whose lock is had by whoever decodes a large photo; None: a new one.

    Attributes:
        total: bytes of all together.
        share: bytes that each may take at any time.
        most: bytes that a photo may take, alone.
    """

    def __init__(
        self, decoders: int, total: int | None = None, descriptor: int | None = None
    ) -> None:
        self.total = total or for_decoders()
        self.share = int(FOR_SHARES * self.total) // decoders
        self.most = self.total - int(FOR_SHARES * self.total)
        self.descriptor = _anonymous_file() if descriptor is None else descriptor
        self._thread = threading.Lock()

    def share_with_node(self) -> None:
        """From now on a large photo is decoded alone among all processes of this machine and this
        user that have called this, too: those at work on a node of a cluster."""
        path = Path(tempfile.gettempdir(), f"tagloom-decoders-{os.getuid()}")
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        os.dup2(file, self.descriptor)
        os.close(file)

    def close(self) -> None:
        """Gives back the descriptor."""
        os.close(self.descriptor)

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
        try:
            if needed <= self.share:
                yield
            else:
                with self._thread, _alone(self.descriptor):
                    yield
        finally:
            if needed > KEPT:
                give_back()


@contextmanager
def _alone(file: int) -> Iterator[None]:
    """Waits for the lock of a file among processes. It ends with its process, however that ends."""
    try:
        import fcntl
    except ImportError:  # Windows, where decoders are threads
        yield
        return
    with stopped_clock():
        fcntl.lockf(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.lockf(file, fcntl.LOCK_UN)


def give_back() -> None:
    """Gives the system what Pillow and the C library keep of memory that nobody uses."""
    Image.core.clear_cache()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # where that is glibc
    if trim is not None:
        trim(0)


def _anonymous_file() -> int:
    """The descriptor of a file that has no name."""
    if hasattr(os, "memfd_create"):  # needs no folder that can be written to
        return os.memfd_create("tagloom-decoders")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def for_decoders() -> int:
    """Bytes that all decoders together may take."""
    return int(FOR_DECODERS * memory())


def memory() -> int:
    """Bytes that this process may have: those of the machine, or of its control groups."""
    limits = [_memory_of_machine()]
    with suppress(OSError):  # there are none
        for line in GROUPS.read_text("utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers == "":
                limits += _limits(MOUNT, path, "memory.max")
            elif "memory" in controllers.split(","):
                limits += _limits(MOUNT / "memory", path, "memory.limit_in_bytes")
    return min(limits)


def _memory_of_machine() -> int:
    if sys.platform == "win32":
        import psutil

        return psutil.virtual_memory().total
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _limits(mount: Path, path: str, name: str) -> Iterator[int]:
    """The limits of a control group and of those that it is in; in a container it is the root."""
    group = mount / path.strip("/")
    for folder in (group, *group.parents):
        with suppress(OSError, ValueError):  # not seen from here; "max"
            yield int((folder / name).read_text("ascii"))
        if folder == mount:
            return

"""Child processes that end with this one, DVC's command line among them."""

import fcntl
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from dvc.dirs import site_cache_dir

from experiments.dvc_project.errors import ProjectError, Transient
from experiments.dvc_project.git import identity

REAPER = str(Path(__file__).parents[1] / "reaper.py")
CLI = str(Path(__file__).with_name("cli.py"))
LEAST_ROOM, NO_ROOM = 8.0, 0.5  # MB free: to begin with, and to go on
LOOK = 1.0  # seconds between two looks at the disk
LOCK_WAIT = 20.0  # seconds for what a run that was killed has left running to end


def locked_file(path: Path, busy: str) -> IO[str]:
    """Opens and locks ``path``: while it is open, here or in a child that has it, nobody else can.

    Raises Transient, saying that it is ``busy``, where others have it for ``LOCK_WAIT`` seconds.
    """
    lock = path.open("a")  # to add: whatever lies there by that name keeps what it holds
    deadline = time.monotonic() + LOCK_WAIT
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except BlockingIOError:
            if time.monotonic() > deadline:
                lock.close()
                raise Transient(busy) from None
            time.sleep(0.1)


@contextmanager
def child_process(
    command: list[str], options: dict[str, Any], lock: IO[str] | None = None
) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """Starts the command in a process group of its own, which ends with the block at the latest.

    When the block raises, the whole group has ended by the time the exception goes on. When the
    command fails or is killed, what it has started ends too, and its output is at its end. When
    this process is killed, ``reaper.py`` ends the group all the same.

    Args:
        options: of ``subprocess.Popen``.
        lock: an open file that stays open until the group has ended.

    Yields:
        The process, and the pipe to its reaper: another thread that closes it ends the group.
    """
    reaper = subprocess.Popen(
        [sys.executable, "-I", REAPER],
        stdin=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for this process, not for the reaper
        pass_fds=[lock.fileno()] if lock else [],
    )
    pipe = reaper.stdin
    assert pipe is not None
    with reaper, subprocess.Popen(command, start_new_session=True, **options) as process:
        try:
            pipe.write(b"%d\n" % process.pid)
            pipe.flush()
            threading.Thread(target=_reap_on_failure, args=(process, pipe), daemon=True).start()
            yield process, pipe
            if process.poll() == 0 and not pipe.closed:
                pipe.write(b"done\n")
        finally:
            with suppress(BrokenPipeError):  # somebody has killed the reaper
                pipe.close()


def _reap_on_failure(process: subprocess.Popen[bytes], reaper: IO[bytes]) -> None:
    if process.wait():
        reaper.close()


@contextmanager
def dvc(
    root: Path, arguments: list[str], lock: IO[str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """DVC's command line in a child process, with what it prints as its output."""
    options = {
        "cwd": root,
        "env": environment(root),
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.STDOUT,
    }
    full: list[ProjectError] = []

    def watch(process: subprocess.Popen[bytes], reaper: IO[bytes]) -> None:
        # DVC's databases wait for ever for room on a full disk.
        while process.poll() is None and not full:
            try:
                check_room(root, NO_ROOM)
                time.sleep(LOOK)
            except ProjectError as error:
                full.append(error)
                reaper.close()

    command = [sys.executable, "-P", CLI, *arguments]
    try:
        with child_process(command, options, lock) as (process, reaper):
            threading.Thread(target=watch, args=(process, reaper), daemon=True).start()
            yield process
    finally:
        if full:
            raise full[0]


def environment(root: Path) -> dict[str, str]:
    """The child's environment: this Python first, lines unbuffered, and a Git identity.

    An experiment is a commit, so without an identity DVC would refuse it. The one that Git has
    is handed on, because the libraries inside DVC do not look everywhere that Git looks.
    """
    folder = os.path.dirname(sys.executable)
    variables = {
        **os.environ,
        "PATH": os.pathsep.join(filter(None, [folder, os.environ.get("PATH")])),
        "PYTHONUNBUFFERED": "1",
        "DVC_NO_ANALYTICS": "1",
    }
    return {**identity(root), **variables}


def check_room(root: Path, least: float = LEAST_ROOM) -> None:
    """Raises ProjectError where a disk that DVC writes to has less than ``least`` MB left."""
    for folder in (root, Path(site_cache_dir())):
        there = next(each for each in (folder, *folder.parents) if each.exists())
        left = shutil.disk_usage(there).free / 2**20
        if left < least:
            raise ProjectError(f"The disk is full: {there} has {left:.1f} MB left; make room there")

"""Child processes that end with this one, DVC's command line among them."""

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

from experiments.dvc_project.errors import ProjectError
from experiments.dvc_project.git import identity

LEASH = Path(__file__).parents[1] / "leash.py"
CLI = Path(__file__).with_name("cli.py")
LEAST_ROOM, NO_ROOM = 8.0, 0.5  # MB free: to begin with, and to go on
LOOK = 1.0  # seconds between two looks at the disk


@contextmanager
def leashed(
    command: list[str], options: dict[str, Any], held: IO[str] | None = None
) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """Starts the command in a process group of its own, which ends with the block at the latest.

    When the block raises, the whole group has ended by the time the exception goes on. When the
    command fails or is killed, what it has started ends too, and its output is at its end. When
    this process is killed, ``leash`` ends the group all the same. Another thread ends it by closing
    what is yielded beside the process. ``held`` stays open until the group has ended.
    """
    leash = subprocess.Popen(
        [sys.executable, "-I", LEASH],
        stdin=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for this process, not for the leash
        pass_fds=[held.fileno()] if held else [],
    )
    with leash, subprocess.Popen(command, start_new_session=True, **options) as process:
        try:
            leash.stdin.write(b"%d\n" % process.pid)
            leash.stdin.flush()
            threading.Thread(target=_let_go, args=(process, leash.stdin), daemon=True).start()
            yield process, leash.stdin
            if process.poll() == 0 and not leash.stdin.closed:
                leash.stdin.write(b"done\n")
        finally:
            with suppress(BrokenPipeError):  # somebody has killed the leash
                leash.stdin.close()


def _let_go(process: subprocess.Popen[bytes], leash: IO[bytes]) -> None:
    if process.wait():
        leash.close()


@contextmanager
def dvc(
    root: Path, arguments: list[str], held: IO[str] | None = None
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

    def watch(process: subprocess.Popen[bytes], leash: IO[bytes]) -> None:
        # DVC's databases wait for ever for room on a full disk.
        while process.poll() is None and not full:
            try:
                check_room(root, NO_ROOM)
                time.sleep(LOOK)
            except ProjectError as error:
                full.append(error)
                leash.close()

    command = [sys.executable, "-P", CLI, *arguments]
    try:
        with leashed(command, options, held) as (process, leash):
            threading.Thread(target=watch, args=(process, leash), daemon=True).start()
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

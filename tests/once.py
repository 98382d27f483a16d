"""What takes long to make is made once, whatever the number of processes that run tests."""

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """The folder ``name``, which ``make`` was given empty; tests copy it, or leave it as it is.

    The first process that asks for it makes it, and the others wait for that.
    """
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / f"once-{name}"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Made where it stays: DVC's queue, for one, knows its logs by their full paths.
        if not (made := folder.with_suffix(".made")).exists():
            shutil.rmtree(folder, ignore_errors=True)  # another process failed here
            folder.mkdir()
            make(folder)
            made.touch()
    return folder

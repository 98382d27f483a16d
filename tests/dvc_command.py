"""DVC's command line, forked from a process that has imported it: that takes a second each time."""

import multiprocessing
import os
import sys
import tempfile
from pathlib import Path

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["dvc.cli", "dvc.cli.parser", "dvc.repo", "dvc.repo.reproduce"])
_STREAMS = ("stdout", "stderr")


def dvc(folder: Path, *arguments: str) -> str:
    """What ``dvc ARGUMENTS`` prints in the folder; AssertionError with all of it where it fails."""
    with tempfile.TemporaryDirectory() as name:
        files = [Path(name) / stream for stream in _STREAMS]
        process = _FORKS.Process(target=_main, args=(folder, arguments, {**os.environ}, files))
        process.start()
        process.join()
        out, errors = (file.read_text("utf-8") for file in files)
    assert process.exitcode == 0, f"dvc {' '.join(arguments)}: {out}{errors}"
    return out.strip()


def _main(
    folder: Path, arguments: tuple[str, ...], environment: dict[str, str], files: list[Path]
) -> None:
    for number, file in enumerate(files, start=1):
        with file.open("wb") as stream:
            os.dup2(stream.fileno(), number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    from dvc.cli import main

    sys.exit(main(list(arguments)))

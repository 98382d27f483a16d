"""Files that are written whole or not at all, hashes, and the folder for what may be lost."""

import csv
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import Any

LOCK = ".lock"


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yields a temporary name beside ``path``; renamed to ``path`` when the block succeeds.

    The block may make a file or a folder there. A reader sees the old content or the new, never
    a part of it. When the block raises, ``path`` stays as it was.
    """
    with room(path) as folder:
        replaced = folder / f"{path.name}.replaced"
        try:
            yield folder / path.name
            # A folder cannot be renamed onto another.
            if path.is_dir():
                path.rename(replaced)
            (folder / path.name).rename(path)
        finally:
            if replaced.exists() and not path.exists():
                replaced.rename(path)


@contextmanager
def room(path: Path) -> Iterator[Path]:
    """Yields a hidden folder beside ``path``, which goes when the block ends.

    What processes that were killed have left there goes, too: nobody holds its lock any more.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{escape(path.name)}.*/{LOCK}"):
        with suppress(OSError), left.open("a") as lock:  # somebody works there, or is clearing up
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left.parent)
    folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        with (folder / f"{LOCK}.new").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            (folder / f"{LOCK}.new").rename(folder / LOCK)  # whoever sees it finds it locked
            yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Waits until no other process is in a block with the same ``folder``.

    One that ends, however it does, lets the next one in.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = folder.with_name(f"{folder.name}.lock")
    while True:
        with lock.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if _is_at(lock, file.fileno()):  # else who had it has taken it away
                try:
                    yield
                finally:
                    lock.unlink(missing_ok=True)
                return


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samefile(path, descriptor)
    except FileNotFoundError:
        return False


def write_text(path: Path, text: str) -> None:
    """Writes ``text`` whole or not at all, as UTF-8 with the line ends that it has."""
    with whole(path) as temporary:
        temporary.write_text(text, "utf-8", newline="\n")


def write_json(path: Path, content: Any) -> None:
    """Writes ``content`` whole or not at all, indented; infinities and NaN raise a ValueError."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_csv(path: Path, header: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    """Writes a header and rows whole or not at all; None becomes an empty cell."""
    # File names may hold bytes that are not text; they are shown escaped.
    with (
        whole(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def digest(*parts: Path | str) -> str:
    """SHA-256 over files (their content), folders (their Python files) and strings, in order."""
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            total.update(hashlib.sha256(part.encode()).digest())
            continue
        for file in sorted(part.rglob("*.py")) if part.is_dir() else [part]:
            with file.open("rb") as stream:
                total.update(hashlib.file_digest(stream, "sha256").digest())
    return total.hexdigest()


def project_root() -> Path:
    """The checkout people work in, also from an experiment's workspace below it.

    DVC runs queued and temporary experiments in copies at ``.dvc/tmp/exps/NAME``.
    """
    here = Path.cwd().resolve()
    for parent in here.parents:
        if parent.name == "exps" and parent.parts[-3:-1] == (".dvc", "tmp"):
            return parent.parents[2]
    return here


def cache_folder(name: str) -> Path:
    """A folder for what saves work but may be deleted at any time.

    It is no DVC output, so DVC does not empty it before a stage runs, and it is shared by the
    checkout and the experiments' workspaces below it. ``TAGLOOM_CACHE`` puts it elsewhere.
    """
    base = os.environ.get("TAGLOOM_CACHE")
    return (Path(base) if base else project_root() / ".tagloom") / name

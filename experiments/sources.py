"""What people keep below a folder, links followed: what can be read of it, and a mirror of it.

Nothing here writes to, moves or deletes a file of theirs, wherever links lead.

``python -m experiments.sources`` names what below ``ingest.root`` DVC would fail at, or wait for.
"""

import os
import shutil
import stat
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from stages import printable

KINDS = {
    stat.S_IFIFO: "a FIFO, which would keep a reader waiting",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}

SHOWN = 4


@dataclass(frozen=True)
class Unreadable:
    """A path that cannot be read as a photo or a table can, and why."""

    path: Path
    why: str

    def __str__(self) -> str:
        return f"{self.path} ({self.why})"


@dataclass(frozen=True)
class _Level:
    """What a folder holds, by name: where each folder is, and each file with its inode."""

    folders: dict[str, str] = field(default_factory=dict)
    files: dict[str, tuple[str, int]] = field(default_factory=dict)
    unreadable: list[Unreadable] = field(default_factory=list)


def unreadable(path: Path) -> Iterator[Unreadable]:
    """What of a file, or below a folder, a reader would fail at, or wait for without end.

    FIFOs, sockets and devices; links to nothing, to themselves or to a folder that they are in;
    what this user may not read.
    """
    if path.is_dir():
        yield from _unreadable(os.path.realpath(path), ())
    elif path.exists() and (why := _why_no_file(path)):
        yield Unreadable(path, why)


def complaint(paths: Sequence[Unreadable]) -> str:
    """Asks people to take away what cannot be read; empty where there is nothing."""
    return f"What is there cannot be read; take it away: {listed(paths)}" if paths else ""


def listed(items: Sequence[object], most: int = SHOWN) -> str:
    """The first few of ``items``, and how many more there are."""
    more = [f"{len(items) - most} more"] if len(items) > most else []
    return ", ".join([*map(str, items[:most]), *more])


def _unreadable(folder: str, above: tuple[str, ...]) -> Iterator[Unreadable]:
    level = _look(folder, (*above, folder))
    yield from level.unreadable
    for path in level.folders.values():
        yield from _unreadable(path, (*above, folder))


def mirror(source: Path, target: Path, keep: Collection[str] = ()) -> list[Unreadable]:
    """Makes ``target`` a folder that holds what ``source`` and its links lead to, without links.

    Files are hard links, so that one that is replaced meanwhile stays what it was; where they
    cannot be (another file system, another owner), symbolic ones with a full path. What is there
    already, as the same link, stays. What cannot be read, or is taken away meanwhile, is left out.

    Args:
        target: itself no link, and below none: what it has too much is removed.
        keep: paths below ``target`` that are left as they are.

    Returns:
        What cannot be read.
    """
    apart = os.path.realpath(target)
    return list(_mirror(os.path.realpath(source), str(target), keep, (), apart))


def _mirror(
    source: str, target: str, keep: Collection[str], above: tuple[str, ...], apart: str
) -> Iterator[Unreadable]:
    above = (*above, source)
    level = _look(source, above, apart)
    yield from level.unreadable
    os.makedirs(target, exist_ok=True)
    with os.scandir(target) as there:
        for old in there:
            if old.path not in keep and not _is_same(old, level):
                _remove(old)
    for name, (path, _) in level.files.items():
        if (link := os.path.join(target, name)) not in keep:
            _link(path, link)
    for name, path in level.folders.items():
        if (folder := os.path.join(target, name)) not in keep:
            yield from _mirror(path, folder, keep, above, apart)


def _look(folder: str, above: tuple[str, ...], apart: str | None = None) -> _Level:
    """What ``folder`` holds.

    Args:
        above: the folder itself and those that were walked through to it; no link leads back.
        apart: no link leads to a folder that holds this one, either.
    """
    level = _Level()
    try:
        entries = list(os.scandir(folder))
    except FileNotFoundError:  # taken away meanwhile
        return level
    except OSError as error:
        level.unreadable.append(Unreadable(Path(folder), str(error.strerror)))
        return level
    for entry in sorted(entries, key=lambda each: each.name):
        try:
            why = _add(entry, level, above, apart)
        except FileNotFoundError:
            why = "a link to nothing" if entry.is_symlink() else ""
        except OSError as error:  # of a link to itself: too many levels of symbolic links
            why = str(error.strerror)
        if why:
            level.unreadable.append(Unreadable(Path(entry.path), why))
    return level


def _add(entry: os.DirEntry[str], level: _Level, above: tuple[str, ...], apart: str | None) -> str:
    """Adds an entry to what its folder holds; or says why it cannot be read."""
    is_link = entry.is_symlink()
    path = os.path.realpath(entry.path, strict=True) if is_link else entry.path
    if entry.is_dir():
        if is_link and (path in above or (apart and Path(apart).is_relative_to(path))):
            return "a link to a folder that it is in"
        level.folders[entry.name] = path
        return ""
    if why := "" if entry.is_file() and os.access(path, os.R_OK) else _why_no_file(Path(path)):
        return why
    level.files[entry.name] = path, entry.stat().st_ino if is_link else entry.inode()
    return ""


def _why_no_file(path: Path) -> str:
    """Why what is there is no file that can be read; empty where it is one."""
    kind = stat.S_IFMT(path.stat().st_mode)
    if kind != stat.S_IFREG:
        return KINDS.get(kind, "no regular file")
    return "" if os.access(path, os.R_OK) else "Permission denied"


def _is_same(old: os.DirEntry[str], level: _Level) -> bool:
    """Whether an entry of a mirror is what belongs there."""
    if old.is_dir(follow_symlinks=False):
        return old.name in level.folders
    path, inode = level.files.get(old.name, ("", -1))
    return os.readlink(old.path) == path if old.is_symlink() else old.inode() == inode


def _link(source: str, target: str) -> None:
    if os.path.lexists(target):
        return
    with suppress(FileNotFoundError):  # taken away meanwhile
        try:
            os.link(source, target)
        except FileNotFoundError:
            raise
        except OSError:
            os.symlink(source, target)


def _remove(entry: os.DirEntry[str]) -> None:
    """Removes a file, a link or a folder with what it holds; never what a link leads to."""
    if entry.is_dir(follow_symlinks=False):
        shutil.rmtree(entry.path)
    else:
        os.unlink(entry.path)


def main() -> None:
    from experiments.plan import PlanError, read

    try:
        root = read(Path.cwd()).get("ingest.root")
    except PlanError as error:
        sys.exit(printable(str(error)))
    paths = unreadable(Path(root)) if root else ()
    # What is hidden does not exist for DVC either (.dvcignore).
    visible = [each for each in paths if not each.path.name.startswith(".")]
    sys.exit(printable(complaint(visible)) or None)


if __name__ == "__main__":
    main()

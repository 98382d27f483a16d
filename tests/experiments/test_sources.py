"""Nobody's files are touched, wherever links lead; and what is no file is found."""

import os
import random
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from experiments.sources import mirror, unreadable

State = dict[str, tuple[object, ...]]


def state(*folders: Path) -> State:
    """Of all that is in the folders, no link followed: bytes, times, inodes, where links lead."""
    states: State = {}
    for folder in folders:
        for path in [folder, *folder.rglob("*")]:
            about = path.lstat()
            if path.is_symlink():
                content: object = os.readlink(path)
            elif path.is_dir():
                content = sorted(os.listdir(path))
            else:
                content = path.read_bytes() if path.is_file() else None
            states[str(path)] = (content, about.st_mtime_ns, about.st_ino, about.st_mode)
    return states


def seen(folder: Path) -> dict[str, bytes]:
    """The files of a folder as a reader finds them, links followed; without loops."""
    files: dict[str, bytes] = {}

    def walk(path: Path, name: str, above: tuple[Path, ...]) -> None:
        for entry in path.iterdir():
            below = f"{name}/{entry.name}"
            if entry.is_file():
                files[below] = entry.read_bytes()
            elif entry.is_dir() and not (entry.is_symlink() and entry.resolve() in above):
                walk(entry, below, (*above, entry.resolve()))

    walk(folder, "", (folder.resolve(),))
    return files


def grow(folder: Path, far: list[Path], generator: random.Random, depth: int = 0) -> None:
    """Fills a folder with files, folders and links of every kind, to ``far`` among others."""
    for number in range(generator.randint(1, 6)):
        path = folder / f"{number}"
        if path.is_symlink() or path.is_file():
            path.unlink()
        elif path.is_dir():
            shutil.rmtree(path)
        kind = generator.choice(
            ["file", "file", "folder", "near", "far", "relative", "self", "nothing"]
        )
        if kind == "file":
            path.write_bytes(generator.randbytes(9))
        elif kind == "folder" and depth < 3:
            path.mkdir()
            grow(path, far, generator, depth + 1)
        elif kind == "near":
            path.symlink_to(generator.choice([".", "..", "0", "../0"]))
        elif kind == "far":
            path.symlink_to(generator.choice(far))
        elif kind == "relative":
            path.symlink_to(os.path.relpath(generator.choice(far), folder))
        elif kind == "self":
            path.symlink_to(path.name)
        else:
            path.symlink_to("nowhere")


@pytest.mark.parametrize("seed", range(40))
def test_a_mirror_shows_all_and_touches_nothing(seed: int, tmp_path: Path) -> None:
    generator = random.Random(seed)
    source, other = tmp_path / "people" / "source", tmp_path / "people" / "far"
    target = tmp_path / "target"
    (other / "folder").mkdir(parents=True)
    (other / "file").write_bytes(b"far")
    (other / "folder" / "file").write_bytes(b"deep")
    far = [other, other / "folder", other / "file", other / "folder" / "file", source]
    source.mkdir()
    for _ in range(3):  # as people change it from run to run
        grow(source, far, generator)
        before = state(source, other)
        mirror(source, target)
        assert state(source, other) == before
        assert seen(target) == seen(source)
        assert not [path for path in target.rglob("*") if path.is_symlink()]


def test_what_is_replaced_meanwhile_stays_what_it_was(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    (source / "photo").write_text("old")
    mirror(source, target)
    (source / ".photo").write_text("new")
    (source / ".photo").rename(source / "photo")
    assert (target / "photo").read_text() == "old"
    mirror(source, target)
    assert (target / "photo").samefile(source / "photo")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK) or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system to write to: /dev/shm")
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


def test_from_another_file_system_nothing_is_copied(elsewhere: Path, tmp_path: Path) -> None:
    (elsewhere / "photo").write_text("1")
    before = state(elsewhere)
    for _ in range(2):
        mirror(elsewhere, tmp_path / "target")
        assert os.readlink(tmp_path / "target" / "photo") == str(elsewhere / "photo")
    (elsewhere / "photo").unlink()
    (elsewhere / "other").write_text("2")
    mirror(elsewhere, tmp_path / "target")
    assert os.listdir(tmp_path / "target") == ["other"]
    assert len(before) == 2


def test_a_folder_that_holds_the_mirror_is_not_walked_into(tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / "raw").mkdir(parents=True)
    (project / "raw" / "loop").symlink_to(project)
    (project / "raw" / "photo").write_text("1")
    (loop,) = mirror(project / "raw", project / "work" / "raw")
    assert (loop.path.name, loop.why) == ("loop", "a link to a folder that it is in")
    assert os.listdir(project / "work" / "raw") == ["photo"]


def test_what_is_no_file_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "people" / "raw"
    (folder / "deep").mkdir(parents=True)
    (folder / "photo").write_text("1")
    os.mkfifo(folder / "deep" / "fifo")
    for name, leads_to in (
        ("zero", "/dev/zero"),
        ("self", "self"),
        ("none", "x"),
        ("up", "deep/.."),
    ):
        (folder / name).symlink_to(leads_to)
    monkeypatch.chdir(folder)  # a socket's path has to be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        reasons = {each.path.name: each.why for each in unreadable(folder)}
        assert {name: why.split(",")[0] for name, why in reasons.items()} == {
            "fifo": "a FIFO",
            "zero": "a device",
            "self": "Too many levels of symbolic links",
            "none": "a link to nothing",
            "up": "a link to a folder that it is in",
            "socket": "a socket",
        }
        # A mirror leaves them out.
        assert dict.fromkeys(map(str, mirror(folder, tmp_path / "mirror"))) == dict.fromkeys(
            map(str, unreadable(folder))
        )
    assert seen(tmp_path / "mirror") == {"/photo": b"1"}
    assert list(unreadable(folder / "deep" / "fifo"))
    assert not list(unreadable(folder / "photo"))


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_found(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    (tmp_path / "photo").touch(mode=0)
    reasons = {each.path.name: each.why for each in unreadable(tmp_path)}
    assert reasons == {"closed": "Permission denied", "photo": "Permission denied"}

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from stages import files


def content(folder: Path) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): file.read_text()
        for file in folder.rglob("*")
        if file.is_file()
    }


def make(path: Path, kind: str, text: str) -> None:
    if kind == "file":
        path.write_text(text)
    else:
        path.mkdir()
        (path / text).write_text(text)


KINDS = ["nothing", "file", "folder"]


@pytest.mark.parametrize(
    ("old", "new"), [(old, new) for old in KINDS for new in KINDS[1:] if [old, new] != KINDS[1:]]
)
def test_whole_replaces(tmp_path: Path, old: str, new: str) -> None:
    path = tmp_path / "deep" / "out"
    path.parent.mkdir()
    if old != "nothing":
        make(path, old, "old")
    with files.whole(path) as temporary:
        make(temporary, new, "new")
        assert content(path.parent).get("out") == ("old" if old == "file" else None)
    assert content(path.parent) == ({"out": "new"} if new == "file" else {"out/new": "new"})
    assert [entry.name for entry in path.parent.iterdir()] == ["out"]  # nothing hidden remains


@pytest.mark.parametrize("old", KINDS)
@pytest.mark.parametrize("made", KINDS)
def test_whole_leaves_the_old_when_the_block_raises(tmp_path: Path, old: str, made: str) -> None:
    path = tmp_path / "out"
    if old != "nothing":
        make(path, old, "old")
    before = content(tmp_path)
    with pytest.raises(RuntimeError), files.whole(path) as temporary:
        if made != "nothing":
            make(temporary, made, "new")
        raise RuntimeError
    assert content(tmp_path) == before
    assert len(list(tmp_path.iterdir())) == len(before)


@pytest.mark.parametrize("old", KINDS)
def test_whole_leaves_the_old_when_the_block_makes_nothing(tmp_path: Path, old: str) -> None:
    if old != "nothing":
        make(tmp_path / "out", old, "old")
    before = content(tmp_path)
    with pytest.raises(FileNotFoundError), files.whole(tmp_path / "out"):
        pass
    assert content(tmp_path) == before


def test_whole_replaces_a_link_and_not_what_it_points_to(tmp_path: Path) -> None:
    (tmp_path / "cached").write_text("old")
    (tmp_path / "out").symlink_to("cached")
    files.write_text(tmp_path / "out", "new")
    assert content(tmp_path) == {"cached": "old", "out": "new"}


def test_whole_takes_the_usual_permissions(tmp_path: Path) -> None:
    with files.whole(tmp_path / "folder") as temporary:
        temporary.mkdir()
    (tmp_path / "plain").mkdir()
    assert (tmp_path / "folder").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_killed_writer_leaves_the_old_and_nothing_for_long(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("old")
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom stages.files import whole\n"
        "with whole(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('half')\n    print('written', flush=True)\n    time.sleep(60)"
    )
    root = str(Path(__file__).parents[1])
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "out")],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": root},
    ) as writer:
        assert writer.stdout.readline() == b"written\n"
        # Nobody takes away what belongs to one at work …
        (room,) = tmp_path.glob(".out.*")
        files.write_text(tmp_path / "out", "mine")
        assert (room / "out").read_text() == "half"
        writer.send_signal(signal.SIGKILL)
    assert (tmp_path / "out").read_text() == "mine"
    # … but what a killed one has left, the next one clears away; and nothing else.
    (tmp_path / ".out.kept").mkdir()
    files.write_text(tmp_path / "out", "new")
    assert {path.name for path in tmp_path.iterdir()} == {"out", ".out.kept"}


def test_json_is_readable_and_strict(tmp_path: Path) -> None:
    files.write_json(tmp_path / "a.json", {"name": "Früh ☕", "n": 1})
    assert (tmp_path / "a.json").read_bytes() == '{\n  "name": "Früh ☕",\n  "n": 1\n}\n'.encode()
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "a.json", {"n": float("nan")})
    assert json.loads((tmp_path / "a.json").read_text())["n"] == 1


def test_csv_has_one_kind_of_line_end_and_takes_any_name(tmp_path: Path) -> None:
    files.write_csv(tmp_path / "a.csv", ["a", "b"], [[1, 'x "y", z\nw'], ["\udcff", "ü"]])
    assert (tmp_path / "a.csv").read_bytes() == ('a,b\n1,"x ""y"", z\nw"\n\\udcff,ü\n'.encode())


def test_digest(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "b.py").write_text("b")
    (tmp_path / "code" / "a.py").write_text("a")
    (tmp_path / "code" / "note.txt").write_text("n")
    one = files.digest(tmp_path / "code", "x")
    assert one == files.digest(tmp_path / "code", "x")
    assert len(one) == len(hashlib.sha256().hexdigest())
    (tmp_path / "code" / "note.txt").write_text("other")
    assert one == files.digest(tmp_path / "code", "x")
    (tmp_path / "code" / "a.py").write_text("other")
    assert one != files.digest(tmp_path / "code", "x")
    assert files.digest("ab", "c") != files.digest("a", "bc")
    assert files.digest(tmp_path / "code" / "b.py") == files.digest("b")


@pytest.mark.parametrize("workspace", ["", ".dvc/tmp/exps/tmp1", ".dvc/tmp/exps/standalone/tmp1/x"])
def test_the_cache_is_shared_with_experiments(
    in_tmp: Path, monkeypatch: pytest.MonkeyPatch, workspace: str
) -> None:
    (in_tmp / workspace).mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(in_tmp / workspace)
    assert files.project_root() == in_tmp.resolve()
    assert files.cache_folder("images") == in_tmp.resolve() / ".tagloom" / "images"
    monkeypatch.setenv("TAGLOOM_CACHE", "/elsewhere")
    assert files.cache_folder("images") == Path("/elsewhere/images")


def test_one_process_at_a_time_and_none_waits_for_a_dead_one(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from stages.files import alone\n"
        "print('waits')\n"
        "with alone(Path(sys.argv[1])):\n"
        "    print('works')\n"
        "    sys.stdin.read()\n"
    )
    command = [sys.executable, "-u", "-c", program, str(tmp_path / "deep" / "kept")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as one:
        assert [one.stdout.readline() for _ in range(2)] == ["waits\n", "works\n"]
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        ) as other:
            assert other.stdout.readline() == "waits\n"
            with pytest.raises(subprocess.TimeoutExpired):
                other.wait(0.5)
            one.kill()
            assert other.stdout.readline() == "works\n"


def test_none_comes_in_beside_one_that_waited(tmp_path: Path) -> None:
    """Who leaves takes the lock's file away, at which others wait already."""
    inside, most = [], []

    def visit() -> None:
        for _ in range(50):
            with files.alone(tmp_path / "kept"):
                inside.append(None)
                time.sleep(0.001)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=visit) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 200
    assert not list(tmp_path.iterdir())

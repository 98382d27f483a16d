import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from stages.ingest.earlier import NOTHING
from stages.ingest.images import UnreadablePhoto
from stages.ingest.photos import Opened, open_all
from stages.ingest.sources import Row


def opened(root: Path, *names: str) -> list[Opened | UnreadablePhoto]:
    rows = [Row("list", 1, name, name, "train", [], None) for name in names]
    return list(open_all(rows, root, 16, NOTHING))


def reason(root: Path, name: str) -> str:
    (outcome,) = opened(root, name)
    assert isinstance(outcome, UnreadablePhoto)
    return str(outcome)


@pytest.fixture
def root(in_tmp: Path, photo: Callable[..., bytes]) -> Path:
    root = in_tmp / "raw"
    (root / "deep").mkdir(parents=True)
    (root / "good.jpg").write_bytes(photo())
    (in_tmp / "outside.jpg").write_bytes(photo())
    return root


def test_photos_come_in_the_order_of_their_rows(root: Path, photo: Callable[..., bytes]) -> None:
    contents = [photo(seed, (20 + 30 * (seed % 7), 10)) for seed in range(100)]
    for seed, content in enumerate(contents):
        (root / f"{seed}.jpg").write_bytes(content)
    found = opened(root, *(f"{seed}.jpg" for seed in range(100)))
    assert [one.sha256 for one in found] == [sha256(content).hexdigest() for content in contents]
    assert [one.width for one in found] == [20 + 30 * (seed % 7) for seed in range(100)]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("../outside.jpg", "leaves ingest.root"),
        ("deep/../good.jpg", "leaves ingest.root"),
        ("{tmp}/raw/good.jpg", "leaves ingest.root"),
        ("none.jpg", "missing"),
        ("good.jpg/none.jpg", "cannot be read: Not a directory"),
        ("deep", "not a file"),
        ("", "not a file"),
        ("nul\0.jpg", "embedded null"),
        ("x" * 300 + ".jpg", "name too long"),
        ("\udcff\ud800.jpg", "not one"),
    ],
)
def test_paths_that_lead_to_no_photo(root: Path, name: str, told: str) -> None:
    assert told in reason(root, name.replace("{tmp}", str(root.parent)))


def test_links(root: Path) -> None:
    for name, target in {
        "inside.jpg": "good.jpg",
        "inside-absolute.jpg": root / "good.jpg",
        "out.jpg": root.parent / "outside.jpg",
        "out-relative.jpg": "../outside.jpg",
        "out-twice.jpg": "out.jpg",
        "folder": "..",
        "loop.jpg": "loop.jpg",
        "dangling.jpg": "none.jpg",
    }.items():
        (root / name).symlink_to(target)
    for name in ("inside.jpg", "inside-absolute.jpg"):
        assert isinstance(*opened(root, name), Opened)
    for name in ("out.jpg", "out-relative.jpg", "out-twice.jpg", "folder/outside.jpg"):
        assert reason(root, name) == "it is a link that leaves ingest.root"
    assert "missing" in reason(root, "dangling.jpg")
    assert reason(root, "loop.jpg")


def test_a_link_into_dvcs_cache_is_allowed(root: Path, photo: Callable[..., bytes]) -> None:
    cached = root.parent / ".dvc" / "cache" / "files" / "md5" / "ab" / "cd"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(photo())
    (root / "linked.jpg").symlink_to(cached)
    assert isinstance(*opened(root, "linked.jpg"), Opened)


def test_a_root_that_is_itself_a_link(root: Path) -> None:
    link = root.parent / "link"
    link.symlink_to(root)
    assert isinstance(*opened(link, "good.jpg"), Opened)


def test_a_pipe_is_not_waited_for(root: Path) -> None:
    os.mkfifo(root / "pipe.jpg")
    assert reason(root, "pipe.jpg") == "it is not a file"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_photo_that_may_not_be_read(root: Path) -> None:
    (root / "good.jpg").chmod(0)
    assert reason(root, "good.jpg") == "cannot be read: Permission denied"

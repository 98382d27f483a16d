import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from stages.ingest import photos, workers
from stages.ingest.decode_cache import EMPTY, INDEX_SCHEMA, NO_STATE, DecodeCache
from stages.ingest.form import Form
from stages.ingest.images import Known, UnreadablePhoto
from stages.ingest.photos import Files, Opened, PhotoSource, open_all


def opened(
    root: Path, *sources: PhotoSource, cache: DecodeCache = EMPTY
) -> list[Opened | UnreadablePhoto]:
    return list(open_all(sources, Files(root), Form(16), cache))


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
    outcomes = opened(root, *(f"{seed}.jpg" for seed in range(100)))
    assert [one.sha256 for one in outcomes] == [sha256(content).hexdigest() for content in contents]
    assert [one.width for one in outcomes] == [20 + 30 * (seed % 7) for seed in range(100)]


@pytest.mark.skipif(not workers.CAN_FORK, reason="no processes by fork here")
def test_processes_and_threads_say_the_same(
    root: Path, photo: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(photos, "UNSETTLED", -(10**18))  # however long it takes
    sources = []
    for seed in range(40):
        # Every third is made by a function without a name, every seventh is no photo.
        content = photo(seed, (20 + seed, 10)) if seed % 7 else b"text"
        (root / f"{seed}.jpg").write_bytes(content)
        source = f"{seed}.jpg" if seed % 3 else lambda content=content: content
        sources.append(source)
    known = sha256(photo(8, (28, 10))).hexdigest()
    cache = knowing((known, 28, 10, 77, 5, None, *NO_STATE, 0))

    def all_of_it() -> list[tuple]:
        return [
            (str(one),)
            if isinstance(one, UnreadablePhoto)
            else (one.image.tobytes() if isinstance(one.image, np.ndarray) else one.image, *one[1:])
            for one in open_all(sources, Files(root), Form(16), cache)
        ]

    by_threads = all_of_it()
    monkeypatch.setattr(photos, "CAN_FORK", False)
    assert all_of_it() == by_threads
    assert by_threads[8] == (Known((5,)), known, 28, 10, 77, 0, by_threads[8][-1])
    assert by_threads[7] == ("not an image of a format that is read",)


@pytest.fixture
def noted(root: Path, monkeypatch: pytest.MonkeyPatch) -> DecodeCache:
    """An earlier ingest of ``good.jpg``, whose file was long settled."""
    monkeypatch.setattr(photos, "UNSETTLED", -(10**18))
    (good,) = opened(root, "good.jpg")
    return knowing(noting(good))


def noting(good: Opened) -> tuple[Any, ...]:
    return good.sha256, good.width, good.height, good.dhash, 3, "good.jpg", *good.file, 0


def knowing(*notes: tuple[Any, ...]) -> DecodeCache:
    return DecodeCache(None, pl.DataFrame(notes, INDEX_SCHEMA, orient="row"))


def again(root: Path, cache: DecodeCache) -> Opened | UnreadablePhoto:
    (outcome,) = opened(root, "good.jpg", cache=cache)
    return outcome


def test_a_file_in_the_state_that_was_noted_is_not_read(
    root: Path, noted: DecodeCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    (before,) = opened(root, "good.jpg")
    monkeypatch.delattr(Path, "read_bytes")
    assert again(root, noted) == before._replace(image=Known((3,)))


def test_another_file_with_the_old_date_and_size_is_read(
    root: Path, photo: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(photos, "UNSETTLED", -(10**18))
    good = root / "good.jpg"
    before = good.stat()
    other = photo(1)
    length = max(len(other), before.st_size)
    good.write_bytes(photo().ljust(length, b"\0"))  # what follows a JPEG's end does not count
    (padded,) = opened(root, "good.jpg")
    noted = knowing(noting(padded))
    good.write_bytes(other.ljust(length, b"\0"))
    os.utime(good, ns=(padded.file[1], padded.file[1]))
    outcome = again(root, noted)
    assert outcome.file[:2] == padded.file[:2]
    assert outcome.sha256 == sha256(other.ljust(length, b"\0")).hexdigest()


def test_a_file_touched_or_put_back_is_read_and_known(root: Path, noted: DecodeCache) -> None:
    os.utime(root / "good.jpg", ns=(1, 1))
    outcome = again(root, noted)
    assert outcome.image == Known((3,))
    assert outcome.file[1] == 1


def test_a_noted_file_is_checked_as_any_other(root: Path, noted: DecodeCache) -> None:
    (root / "good.jpg").rename(root.parent / "moved.jpg")
    assert str(again(root, noted)) == "the file is missing"
    (root / "good.jpg").symlink_to("../moved.jpg")
    assert str(again(root, noted)) == "it is a link that leaves ingest.root and DVC's cache"


def test_a_file_that_changed_a_moment_ago_gets_no_note(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(photos, "UNSETTLED", 10**18)
    (good,) = opened(root, "good.jpg")
    assert good.file is None


@pytest.mark.parametrize(
    ("name", "message"),
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
    ],
)
def test_paths_that_lead_to_no_photo(root: Path, name: str, message: str) -> None:
    assert message in reason(root, name.replace("{tmp}", str(root.parent)))


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
        assert reason(root, name) == "it is a link that leaves ingest.root and DVC's cache"
    assert "missing" in reason(root, "dangling.jpg")
    assert reason(root, "loop.jpg")


@pytest.mark.parametrize(
    ("settings", "cache"),
    [
        ("", ".dvc/cache"),
        ("[core]\n    analytics = false\n[cache]\n    dir = ../../big\n", "../big"),
        ('[\'remote "r"\']\n    url = s3://%x\n[cache]\n    dir = "{}/big one"\n', "big one"),
    ],
)
def test_a_link_into_dvcs_cache_is_allowed(
    root: Path, photo: Callable[..., bytes], settings: str, cache: str
) -> None:
    cached = root.parent / cache / "files" / "md5" / "ab" / "cd"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(photo())
    (root.parent / ".dvc").mkdir(exist_ok=True)
    (root.parent / ".dvc" / "config.local").write_text(settings.format(root.parent), "utf-8")
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

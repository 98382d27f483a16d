"""What takes hours is computed once, and what was done before a kill is not done again."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from stages import resumable

WHOLE = np.random.default_rng(0).random((10, 3), np.float32)
PART = 2
Compute = Callable[[int], Iterator[np.ndarray]]


class Killed(BaseException):
    pass


def parts(end: int = len(WHOLE), seen: list[int] | None = None) -> Compute:
    """Gives the parts of ``WHOLE``; is killed at row ``end``, unless that is the last."""

    def compute(first: int) -> Iterator[np.ndarray]:
        for start in range(first, len(WHOLE), PART):
            if start == end:
                raise Killed
            if seen is not None:
                seen.append(start)
            yield WHOLE[start : start + PART]

    return compute


@pytest.fixture(autouse=True)
def kept_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resumable, "SECONDS_BETWEEN_KEEPING", 0)


def array(folder: Path, compute: Compute) -> tuple[np.ndarray, float]:
    return resumable.array(folder / "deep" / "kept", len(WHOLE), compute, "test")


def test_computed_once(tmp_path: Path) -> None:
    first, seconds = array(tmp_path, parts())
    again, as_before = array(tmp_path, parts(end=0))
    assert np.array_equal(first, WHOLE)
    assert np.array_equal(again, WHOLE)
    assert seconds == as_before > 0
    assert not again.flags.writeable
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["kept"]


def test_what_was_done_and_is_gone_is_done_again(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        array(tmp_path, parts(end=4))
    (tmp_path / "deep/kept.begun/rows.npy").unlink()
    rows, _ = array(tmp_path, parts())
    assert np.array_equal(rows, WHOLE)


def test_goes_on_after_each_kill(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[int] = []
    for end in (0, 4, 8):
        with pytest.raises(Killed):
            array(tmp_path, parts(end, seen))
    (tmp_path / "deep/kept.begun/state.json").write_text("[8, 1000.0]")
    rows, seconds = array(tmp_path, parts(seen=seen))
    assert np.array_equal(rows, WHOLE)
    assert seen == [0, 2, 4, 6, 8]
    assert seconds > 1000
    assert "10 of 10 photos" in capsys.readouterr().err


def test_what_was_not_kept_yet_is_computed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Killed):
        array(tmp_path, parts(4))
    monkeypatch.setattr(resumable, "SECONDS_BETWEEN_KEEPING", 3600)
    with pytest.raises(Killed):
        array(tmp_path, parts(8))
    seen: list[int] = []
    rows, _ = array(tmp_path, parts(seen=seen))
    assert np.array_equal(rows, WHOLE)
    assert seen == [4, 6, 8]


def test_a_disk_without_room_for_it_says_so_at_once(small_disk: Path) -> None:
    whole = np.zeros((100, 2**18), np.float32)  # 100 MB
    with pytest.raises(OSError, match="No space left"):
        resumable.array(small_disk / "kept", len(whole), lambda first: iter([whole[:1]]), "test")


def test_who_has_it_keeps_it_when_it_is_removed(tmp_path: Path) -> None:
    rows, _ = array(tmp_path, parts())
    resumable.remove(tmp_path / "deep" / "kept")
    assert np.array_equal(rows, WHOLE)
    assert not list((tmp_path / "deep").iterdir())

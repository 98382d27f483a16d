"""Memory for decoders: a share for each, and one large photo at a time."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from stages.ingest import budget
from stages.ingest.budget import MB, Budget, memory
from stages.ingest.confinement import clock_deadline
from stages.ingest.decoder import decode
from stages.ingest.images import UnreadablePhoto
from tests.hostile import photo, saved

SMALL, LARGE = 2 * MB, 12 * MB


@pytest.fixture
def tight() -> Iterator[Budget]:
    budget = Budget(2, 16 * MB)  # 2 MB for each of two, 12 MB for one
    yield budget
    budget.close()


def test_what_never_fits_is_refused(tight: Budget) -> None:
    content = saved(photo(1500), "PNG")
    with pytest.raises(UnreadablePhoto, match=r"takes 13 MB of memory, and 12 MB"):
        decode(content, 16, budget=tight)
    assert decode(content, 16).width == 1500
    # Of a JPEG no more is decoded than is looked at.
    assert decode(saved(photo(1500), "JPEG"), 16, budget=tight).width == 1500


def test_one_large_photo_at_a_time_whatever_small_ones_do(tight: Budget) -> None:
    running, most = 0, 0

    def work() -> None:
        nonlocal running, most
        with tight.room(LARGE):
            running += 1
            most = max(most, running)
            time.sleep(0.01)
            running -= 1

    with tight.room(SMALL), tight.room(SMALL):
        threads = [threading.Thread(target=work) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert most == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # of a fork beside threads
def test_a_killed_process_gives_its_memory_back(tight: Budget) -> None:
    reader, writer = multiprocessing.Pipe(duplex=False)

    def hold() -> None:
        with tight.room(LARGE):
            writer.send("held")
            time.sleep(60)

    process = multiprocessing.get_context("fork").Process(target=hold)
    process.start()
    assert reader.recv() == "held"
    taken = threading.Event()

    def take() -> None:
        with tight.room(LARGE):
            taken.set()

    thread = threading.Thread(target=take)
    thread.start()
    assert not taken.wait(0.1)
    os.kill(process.pid, signal.SIGKILL)
    thread.join()
    process.join()
    process.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # of a fork beside threads
def test_who_waits_for_others_is_not_ended(tight: Budget) -> None:
    """The clock stands while a photo waits for the large one before it, and then goes on."""
    is_held = multiprocessing.Event()

    def wait() -> None:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        is_held.wait()
        with clock_deadline(0.5):
            with tight.room(LARGE):
                pass
            time.sleep(60)

    process = multiprocessing.get_context("fork").Process(target=wait)
    process.start()
    with tight.room(LARGE):
        is_held.set()
        process.join(1)
        assert process.is_alive()
    process.join()
    assert process.exitcode == -signal.SIGALRM
    process.close()


@pytest.mark.parametrize(
    ("groups", "file"),
    [
        ("0::/pod/photos\n", "pod/memory.max"),
        ("0::/\n", "memory.max"),
        ("1:cpu:/\n4:memory:/pod/photos\n0::/\n", "memory/pod/photos/memory.limit_in_bytes"),
    ],
)
def test_a_containers_memory_counts(
    groups: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "GROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(budget, "MOUNT", tmp_path)
    assert memory() == psutil.virtual_memory().total
    (tmp_path / "cgroup").write_text(groups)
    limit = tmp_path / file
    limit.parent.mkdir(parents=True, exist_ok=True)
    limit.write_text("max\n")
    assert memory() == psutil.virtual_memory().total
    limit.write_text(f"{512 * MB}\n")
    assert memory() == 512 * MB

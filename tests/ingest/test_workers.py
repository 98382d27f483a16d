import faulthandler
import mmap
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from stages import UserError
from stages.ingest import workers
from stages.ingest.workers import in_threads

SHAPE = (4, 4, 3)

pytestmark = pytest.mark.skipif(not workers.CAN_FORK, reason="no processes by fork here")


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(workers, "cores", lambda: 2)
    yield
    assert not multiprocessing.active_children()


in_processes = partial(workers.in_processes, fatal=lambda ended_by: f"ended by {ended_by}")


def filled(item: int) -> tuple[np.ndarray | None, str]:
    """An array full of ``item``; none for every fifth."""
    return None if item % 5 == 0 else np.full(SHAPE, item % 251, np.uint8), f"item {item}"


@pytest.mark.parametrize("count", [1, 2, 40, 1000])
def test_results_come_in_order(count: int) -> None:
    yielded = 0
    for item, (pixels, rest) in enumerate(in_processes(filled, range(count), SHAPE)):
        assert rest == f"item {item}"
        expected, _ = filled(item)
        np.testing.assert_array_equal(pixels, expected)
        yielded += 1
    assert yielded == count


def test_pixels_too_many_for_one_chunk() -> None:
    shape = (1024, 1024, 3)
    results = in_processes(lambda item: (np.full(shape, item, np.uint8), item), range(20), shape)
    assert [(pixels[0, 0, 0], pixels[-1, -1, -1]) for pixels, _ in results] == [
        (item, item) for item in range(20)
    ]


def test_threads_keep_the_order_too() -> None:
    assert [rest for _, rest in in_threads(filled, range(100))] == [f"item {i}" for i in range(100)]


def test_only_so_much_is_done_ahead() -> None:
    started = multiprocessing.Value("i", 0)

    def count(item: int) -> tuple[None, int]:
        with started:
            started.value += 1
        return None, item

    results = in_processes(count, range(100_000), SHAPE)
    next(results)
    most = 2 * workers.AHEAD * workers.CHUNK
    while started.value < most:
        time.sleep(0.01)
    time.sleep(0.1)
    assert started.value == most
    results.close()


def test_a_killed_process_is_one_sentence() -> None:
    def be_killed(item: int) -> tuple[None, int]:
        if item == 100:
            os.kill(os.getpid(), signal.SIGKILL)
        return None, item

    with pytest.raises(UserError, match="was killed by signal 9; where memory was short"):
        list(in_processes(be_killed, range(200), SHAPE))


def test_an_item_that_ends_its_process_costs_no_other() -> None:
    def fatal(item: int) -> tuple[np.ndarray | None, str]:
        if item % 50 == 7:
            faulthandler.disable()  # pytest's, which would tell of it
            os.kill(os.getpid(), signal.SIGSEGV)
        while item % 50 == 8:
            pass
        return filled(item)

    results = [rest for _, rest in in_processes(fatal, range(120), SHAPE, seconds=0.05)]
    expected = [f"item {item}" for item in range(120)]
    for item in (7, 57, 107):
        expected[item : item + 2] = f"ended by {signal.SIGSEGV}", f"ended by {signal.SIGPROF}"
    assert results == expected


def test_an_item_has_so_much_memory() -> None:
    def hungry(item: int) -> tuple[None, int]:
        size = 2**30 if item % 2 else 2**20
        try:  # not from what this process has freed before and kept
            mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
        except OSError:
            return None, 0
        return None, size

    results = [rest for _, rest in in_processes(hungry, range(4), SHAPE, memory=2**20)]
    assert results == [2**20, 0] * 2


def test_an_error_is_shown(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="ended by the error shown above"):
        list(in_processes(lambda item: (None, 1 / (item - 100)), range(200), SHAPE))
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_no_file_stays_open() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        list(in_processes(filled, range(40), SHAPE))
        next(in_processes(filled, range(1000), SHAPE))
    assert len(os.listdir("/proc/self/fd")) == before


ENDLESS = """
import os, time
from stages.ingest.workers import in_processes

def tell(item):
    return None, os.getpid()

for _, pid in in_processes(tell, range(100_000), (4, 4, 3), str):
    print(pid, flush=True)
    time.sleep(0.01)
"""


def test_the_processes_end_with_a_stage_that_is_killed() -> None:
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", ENDLESS], cwd=root, stdout=subprocess.PIPE, text=True
    ) as stage:
        pids = {int(stage.stdout.readline()) for _ in range(100)}
        stage.kill()
    while any(Path(f"/proc/{pid}").exists() and not _is_zombie(pid) for pid in pids):
        time.sleep(0.01)


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True

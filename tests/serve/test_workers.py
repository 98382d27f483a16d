"""Several processes behind one port."""

import shutil
import signal
from collections import Counter
from pathlib import Path

import httpx
import psutil
import pytest

from stages.bundle.bundle import read_bundle
from tests.hostile import jpeg
from tests.serve.test_command import serving, start
from tests.serve.test_model_reload import change
from tests.serve.test_operation import until

PHOTO = jpeg()


def ask(address: str, count: int = 1) -> list[httpx.Response]:
    """Photos asked about, each over a connection of its own."""
    return [httpx.post(f"{address}/predict", files={"photos": PHOTO}) for _ in range(count)]


def workers_of(process) -> list[psutil.Process]:
    """Those that are ready: they hold the socket, and more than one process."""
    children = psutil.Process(process.pid).children()
    return [each for each in children if any(c.status == "LISTEN" for c in each.net_connections())]


def total(address: str, name: str) -> float:
    text = httpx.get(f"{address}/metrics").text
    lines = [line.split() for line in text.splitlines() if line.startswith(f"tagloom_{name}")]
    return sum(float(value) for *_, value in lines)


def test_workers_share_a_port_and_are_replaced(bundle: Path, tmp_path: Path):
    folder = shutil.copytree(bundle, tmp_path / "bundle")
    options = ("--bundle", folder, "--onnx", "--notice", 0, "--workers", 2, "--poll", 0.2)
    with serving(*options) as (process, address, _):
        until(lambda: len(workers_of(process)) == 2)
        answered: Counter[int] = Counter()
        while len(answered) < 2:
            answered[httpx.get(f"{address}/health").json()["process"]] += 1
        first, second = workers_of(process)
        assert set(answered) == {first.pid, second.pid}
        answers = ask(address, 6)
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.headers["x-request-id"] for answer in answers}) == 6
        assert total(address, 'photos_total{result="answered"}') == 6
        assert total(address, "requests_in_flight") == 0

        first.send_signal(signal.SIGKILL)
        psutil.wait_procs([first], timeout=10)
        assert {answer.status_code for answer in ask(address, 6)} == {200}
        until(lambda: len(workers_of(process)) == 2)
        assert total(address, 'photos_total{result="answered"}') == 12
        assert psutil.Process(second.pid).is_running()

        change(folder, 0.0)
        new, follows = read_bundle(folder).sha256, set()
        while len(follows) < 2:
            health = httpx.get(f"{address}/health").json()
            follows |= {health["process"]} if health["model"] == new else set()

        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
        rest = process.stdout.read()
        assert f"process {first.pid}, has ended" in rest
        assert "Traceback" not in rest
        with pytest.raises(httpx.ConnectError):
            ask(address)


def test_workers_end_with_the_process_that_started_them(bundle: Path):
    with serving("--bundle", bundle, "--onnx", "--workers", 2, "--notice", 0) as (process, _, _):
        until(lambda: len(workers_of(process)) == 2)
        workers = workers_of(process)
        process.kill()
        _, alive = psutil.wait_procs(workers, timeout=20)
        assert alive == []


def test_no_worker_no_service(tmp_path: Path):
    process = start("--bundle", tmp_path, "--workers", 2, "--port", 0)
    log, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert log.count(f"{tmp_path} is no bundle") == 1
    assert "Traceback" not in log

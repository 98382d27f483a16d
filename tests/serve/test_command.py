"""``tagloom serve`` as people start and stop it."""

import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.hostile import jpeg

# As where torch is not installed.
WITHOUT_TORCH = "import sys; sys.modules['torch'] = None; "
MODULE = "import runpy; runpy.run_module('tagloom', run_name='__main__')"


def start(*options: object, before: str = "") -> subprocess.Popen[str]:
    command = [sys.executable, "-c", before + MODULE, "serve", *map(str, options)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def announced(process: subprocess.Popen[str]) -> tuple[str, str]:
    """The address of the service that was started, once it says so, and its log so far."""
    log = ""
    for line in process.stdout:
        log += line
        if match := re.search(r"running on (http://\S+)", line):
            return match[1], log
    raise AssertionError(log)


@contextmanager
def serving(*options: object, before: str = "") -> Iterator[tuple[subprocess.Popen, str, str]]:
    """The process, its address and its log so far."""
    process = start("--port", 0, *options, before=before)
    try:
        yield process, *announced(process)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_requests_are_answered_before_it_stops(bundle: Path):
    """With ONNX, which needs no torch."""
    options = ("--bundle", bundle, "--onnx", "--notice", 0)
    with serving(*options, before=WITHOUT_TORCH) as (process, address, log):
        assert "password" not in log
        with httpx.Client(base_url=address, timeout=30) as client:
            assert client.get("/labels").json()["explains"] is False
            explained = client.post("/explain", files={"photos": jpeg()}, data={"label": "1"})
            assert explained.status_code == 404
            assert "torch" in explained.json()["detail"]
        answers: list[int] = []

        def ask() -> None:
            files = [("photos", jpeg(1000))] * 30
            answers.append(httpx.post(f"{address}/predict", files=files, timeout=30).status_code)

        askers = [threading.Thread(target=ask) for _ in range(3)]
        for asker in askers:
            asker.start()
        while "tagloom_requests_in_flight 3.0" not in httpx.get(f"{address}/metrics").text:
            time.sleep(0.002)
        process.send_signal(signal.SIGTERM)
        for asker in askers:
            asker.join()
        assert answers == [200] * 3
        assert process.wait(timeout=20) in (0, -signal.SIGTERM)
        rest = process.stdout.read()
        assert "Traceback" not in rest, rest


def test_it_warns_where_others_may_ask(bundle: Path):
    options = ("--bundle", bundle, "--onnx", "--host", "0.0.0.0", "--allow-host", "photos.lan")
    with serving(*options) as (_, address, log):
        assert "password" in log
        headers = {"Host": "127.0.0.1", "Origin": "https://photos.lan"}
        url = address.replace("0.0.0.0", "127.0.0.1")
        assert httpx.get(f"{url}/health", headers=headers).status_code == 200
        for host, status in (("photos.lan", 200), ("127.0.0.1:80", 200), ("other.lan", 421)):
            assert httpx.get(f"{url}/health", headers={"Host": host}).status_code == status


def test_without_a_bundle_it_says_so(tmp_path: Path):
    process = start("--bundle", tmp_path)
    log, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"{tmp_path} is no bundle" in log
    assert "Traceback" not in log

"""What a service is watched by and run with: readiness, its end, its log, its descriptors."""

import json
import logging
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import numpy as np
import pytest

from stages.bundle.model import Model
from stages.ingest import decoder
from stages.ingest.decoder_processes import Decoders
from stages.ingest.form import Form
from tagloom.serve import batching
from tagloom.serve.request_log import JsonFormatter, TextFormatter
from tests.hostile import FORM, form, jpeg, part
from tests.serve.conftest import Running, running
from tests.serve.test_command import serving

PHOTO = jpeg()
STUCK = (
    "import time; from stages.ingest.decoder_processes import Decoders;"
    "Decoders.decode = lambda *_: time.sleep(99);"
)
FEW = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200));"


class Held:
    """A decoder that is at its photo until it is released, and counts."""

    def __init__(self) -> None:
        self.calls, self.release = 0, threading.Event()

    def __call__(self, content: bytes, form: Form) -> decoder.Photo:
        self.calls += 1
        assert self.release.wait(30)
        size = form.size
        return decoder.Photo(np.zeros((size, size, 3), np.uint8), size, size, None)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    held = Held()
    monkeypatch.setattr(Decoders, "decode", held)
    yield held
    held.release.set()


def until(what) -> None:
    deadline = time.monotonic() + 20
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_memory_goes_back_between_two_batches(model: Model, monkeypatch: pytest.MonkeyPatch):
    threads: list[str] = []
    monkeypatch.setattr(batching, "GIVES_BACK", 0.01)
    monkeypatch.setattr(
        batching, "give_back", lambda: threads.append(threading.current_thread().name)
    )
    with running(model) as service:
        until(lambda: len(threads) > 2)
        assert service.client.post("/predict", files={"photos": PHOTO}).status_code == 200
    assert set(threads) == {"network_0"}


def test_not_ready_while_a_photo_keeps_it(model: Model, held: Held):
    with running(model, threads=1, patience=0.2) as service:
        answers: list[int] = []
        files = {"photos": PHOTO}
        asking = threading.Thread(
            target=lambda: answers.append(service.client.post("/predict", files=files).status_code)
        )
        asking.start()
        health = f"http://127.0.0.1:{service.port}/health"
        until(lambda: httpx.get(health).status_code == 503)
        assert "at one piece of work" in httpx.get(health).json()["reason"]
        assert httpx.get(health.replace("health", "live")).json() == {"live": True}
        held.release.set()
        asking.join()
        assert answers == [200]
        until(lambda: httpx.get(health).status_code == 200)


def test_a_client_that_has_gone_takes_its_photos_along(model: Model, held: Held):
    body = form(*(part("photos", PHOTO, f"{n}.jpg") for n in range(5)))
    head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: {FORM['Content-Type']}\r\n"
    with running(model, threads=1) as service:
        with socket.create_connection(("127.0.0.1", service.port)) as client:
            client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            until(lambda: held.calls == 1)
        until(lambda: service.count("requests_in_flight") == 0)
        held.release.set()
        assert service.client.post("/predict", files={"photos": PHOTO}).status_code == 200
        assert held.calls == 2
        assert service.count("rejected_total", reason="gone") == 1


@pytest.mark.parametrize("path", ["/health", "/live", "/metrics", "/labels", "/", "/docs"])
def test_head_answers_as_get_without_a_body(service: Running, path: str):
    answer = service.client.head(path)
    assert (answer.status_code, answer.content) == (200, b"")
    assert service.client.head("/predict").status_code == 405


def test_a_line_a_request(service: Running, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "tagloom")
    files = [("photos", ("secret.jpg", PHOTO))] * 2
    for given in ("order-17", "two\tids", "x" * 65):
        answer = service.client.post(
            "/predict",
            files=files,
            data={"captions": ["a secret"] * 2},
            headers={"X-Request-ID": given},
        )
        line = logged(caplog, answer)
        assert (line["id"] == given) == (given == "order-17")
        assert (line["method"], line["path"], line["status"]) == ("POST", "/predict", 200)
        assert line["photos"] == 2
        assert line["milliseconds"] > 0
    health = service.client.get("/health")
    line = logged(caplog, service.client.get("/secret"))
    assert (line["method"], line["path"], line["status"]) == ("GET", "other", 404)
    # Prefect, in other tests of this process, has uvicorn log again; where we serve, nothing does.
    ours = [each for each in caplog.records if each.name.startswith("tagloom")]
    said = "\n".join(each.getMessage() for each in ours)
    assert "order-17" in said
    assert health.headers["x-request-id"] not in said
    assert "secret" not in said


def logged(caplog: pytest.LogCaptureFixture, answer: httpx.Response) -> dict:
    """What was logged of a request, which is a moment after its answer."""
    id = answer.headers["x-request-id"]

    def lines() -> list[dict]:
        lines = (getattr(record, "request", None) for record in caplog.records)
        return [line for line in lines if line is not None and line["id"] == id]

    until(lines)
    return lines()[0]


def test_it_ends_in_time_though_a_photo_hangs(bundle: Path):
    options = ("--bundle", bundle, "--onnx", "--notice", 1, "--grace", 1, "--log-format", "json")
    with serving(*options, before=STUCK) as (process, address, _):
        asking = threading.Thread(target=ask, args=(address,))
        asking.start()
        until(lambda: "tagloom_requests_in_flight 1.0" in httpx.get(f"{address}/metrics").text)
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        until(lambda: httpx.get(f"{address}/health").status_code == 503)
        answer = httpx.get(f"{address}/health")
        assert "about to stop" in answer.json()["reason"]
        assert answer.headers["connection"] == "close"
        assert process.wait(timeout=10) != 0
        assert time.monotonic() - started > 1
        asking.join()
        lines = [json.loads(line) for line in process.stdout]
        assert {line["level"] for line in lines} <= {"info", "error"}
        assert any(line.get("path") == "/predict" for line in lines)


def ask(address: str) -> None:
    with suppress(httpx.HTTPError):  # nobody answers
        httpx.post(f"{address}/predict", files={"photos": PHOTO}, timeout=30)


def test_more_clients_than_descriptors(bundle: Path):
    with (
        serving("--bundle", bundle, "--onnx", "--notice", 0, before=FEW) as (process, address, _),
        ExitStack() as stack,
    ):
        port = int(address.rpartition(":")[2])
        statuses: Counter[bytes] = Counter()
        for _ in range(300):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
            client.settimeout(0.1)
            try:
                statuses[client.recv(12)] += 1
            except TimeoutError:
                statuses[b""] += 1
        assert statuses[b"HTTP/1.1 503"] == 300 - statuses[b""] > 100
        assert statuses[b""] > 50
        stack.close()
        assert httpx.post(f"{address}/predict", files={"photos": PHOTO}).status_code == 200
        process.send_signal(signal.SIGTERM)
        assert len(process.stdout.readlines()) < 20


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
def test_no_line_of_the_log_steers_a_terminal(formatter: logging.Formatter):
    name = "a\x1b[2J\x9b31m\r\n2026 INFO forged\u202e"
    try:
        raise ValueError(name)
    except ValueError:
        record = logging.LogRecord(
            "tagloom", logging.ERROR, "", 1, "no %s", (name,), sys.exc_info()
        )
    text = formatter.format(record)
    assert not set(text) & set("\x1b\x9b\r\u202e")
    assert "forged" in text.splitlines()[0]

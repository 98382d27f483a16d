"""Slow, broken and far too many clients: each has an answer, and the others are served."""

import http.client
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import pytest

from stages.bundle.model import Model
from tagloom.serve.limits import MB, Limits
from tests.hostile import FORM, form, jpeg, part
from tests.serve.conftest import Running, running

PHOTO = jpeg()
BODY = form(part("photos", PHOTO, "a.jpg"))
HEAD = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: {FORM['Content-Type']}\r\n"


@pytest.fixture(scope="module")
def impatient(model: Model) -> Iterator[Running]:
    limits = Limits(seconds=1, request_bytes=MB, held_bytes=3 * MB // 2, requests=1)
    with running(model, limits, batch_size=1) as service:
        yield service


class Raw:
    """A connection that sends just the bytes it is given."""

    def __init__(self, service: Running) -> None:
        self.socket = socket.create_connection(("127.0.0.1", service.port), timeout=20)

    def __enter__(self) -> "Raw":
        return self

    def __exit__(self, *error: object) -> None:
        self.socket.close()

    def say(self, *parts: str | bytes) -> "Raw":
        for each in parts:
            self.socket.sendall(each.encode() if isinstance(each, str) else each)
        return self

    def hear(self) -> tuple[int, str]:
        """Status and sentence of the answer."""
        answer = http.client.HTTPResponse(self.socket)
        answer.begin()
        return answer.status, json.loads(answer.read()).get("detail", "")


def works(service: Running) -> bool:
    for _ in range(100):
        answer = service.client.post("/predict", files={"photos": PHOTO})
        if answer.status_code != 429:
            return answer.status_code == 200
        time.sleep(0.05)
    return False


SLOW = {
    "headers": (HEAD[:40], "the headers"),
    "nothing": ("", "the headers"),
    "body": (HEAD + f"Content-Length: {len(BODY)}\r\n\r\n--bound", "the request"),
    "chunks": (HEAD + "Transfer-Encoding: chunked\r\n\r\n4\r\n--bo\r\n", "the request"),
}


@pytest.mark.parametrize("part_", SLOW)
def test_a_slow_client_is_let_go(impatient: Running, part_: str):
    sent, missing = SLOW[part_]
    before = impatient.count("rejected_total", reason="slow")
    with Raw(impatient) as slow:
        status, sentence = slow.say(sent).hear()
    assert status == 408
    assert missing in sentence
    assert "1 s" in sentence
    assert impatient.count("rejected_total", reason="slow") == before + 1


def test_one_that_sends_a_byte_now_and_then_is_let_go(impatient: Running):
    with Raw(impatient) as slow:
        slow.say(HEAD + f"Content-Length: {len(BODY)}\r\n\r\n")
        started = time.monotonic()
        for place in range(15):
            slow.say(BODY[place : place + 1])
            time.sleep(0.1)
        assert slow.hear()[0] == 408
        assert time.monotonic() - started < 5


def test_slow_clients_keep_nobody_out(impatient: Running):
    with ExitStack() as stack:
        slow = [stack.enter_context(Raw(impatient)) for _ in range(20)]
        for each in slow:
            each.say(HEAD, "Content-Length: 1000\r\n\r\n--b")
        assert works(impatient)
        assert {each.hear()[0] for each in slow} == {408}


def test_an_upload_that_breaks_off(impatient: Running):
    with Raw(impatient) as client:
        client.say(HEAD + f"Content-Length: {len(BODY)}\r\n\r\n", BODY[:300])
        client.socket.shutdown(socket.SHUT_WR)
        assert client.hear()[0] == 400
    with Raw(impatient) as client:  # this one does not wait for an answer
        client.say(HEAD + f"Content-Length: {len(BODY)}\r\n\r\n", BODY[:300])
    assert works(impatient)
    assert impatient.count("held_bytes") == 0


def test_one_that_sends_no_more_still_has_its_answer(impatient: Running):
    with Raw(impatient) as client:
        client.say(HEAD + f"Content-Length: {len(BODY)}\r\n\r\n", BODY)
        client.socket.shutdown(socket.SHUT_WR)
        assert client.hear()[0] == 200
        assert client.socket.recv(1) == b""  # its end is the connection's


def test_a_body_without_end_is_cut(impatient: Running):
    """In chunks, so that nothing says beforehand how long it is."""
    sent, block = 0, b"10000\r\n" + bytes(2**16) + b"\r\n"
    with Raw(impatient) as client:
        client.say(HEAD + "Transfer-Encoding: chunked\r\n\r\n")
        begin = part("photos", b"", "a.jpg")[:-2]
        client.say(f"{len(begin):x}\r\n".encode() + begin + b"\r\n")
        try:
            while sent < 200 * MB:
                client.say(block)
                sent += len(block)
        except OSError:
            pass  # nobody listens any more
    assert sent < 100 * MB
    assert impatient.count("rejected_total", reason="request size") >= 1
    assert impatient.count("held_bytes") == 0
    assert works(impatient)


def test_whoever_asks_first_is_told_before_sending(impatient: Running):
    with Raw(impatient) as client:
        client.say(HEAD + f"Expect: 100-continue\r\nContent-Length: {2 * MB}\r\n\r\n")
        status, sentence = client.hear()
        assert status == 413
        assert "1 MB" in sentence
    with Raw(impatient) as client:
        client.say(HEAD + f"Expect: 100-continue\r\nContent-Length: {len(BODY)}\r\n\r\n")
        assert client.socket.recv(100).startswith(b"HTTP/1.1 100")


def test_memory_is_not_for_one_to_fill(impatient: Running):
    large = HEAD + f"Content-Length: {MB}\r\n\r\n"
    begin = part("photos", b"", "a.jpg")[:-2] + bytes(900_000)
    with Raw(impatient) as first, Raw(impatient) as second:
        first.say(large, begin)
        until = time.monotonic() + 5
        while impatient.count("held_bytes") < 800_000 and time.monotonic() < until:
            time.sleep(0.005)
        second.say(large, begin)
        status, sentence = second.hear()
        assert status == 429
        assert "memory" in sentence
    assert works(impatient)


def test_an_overload_loses_nobody(impatient: Running):
    """Each of many requests at once is answered, or is refused at once with a Retry-After."""
    ready = threading.Barrier(40)

    def ask(number: int) -> httpx.Response:
        ready.wait()
        return impatient.client.post("/predict", files=[("photos", PHOTO)] * (1 + number % 8))

    with ThreadPoolExecutor(40) as clients:
        answers = list(clients.map(ask, range(40)))
    count = Counter(answer.status_code for answer in answers)
    assert set(count) == {200, 429}
    for answer in answers:
        if answer.status_code == 429:
            assert answer.headers["retry-after"] == "1"
    assert works(impatient)
    assert impatient.count("requests_in_flight") == 0


def test_requests_are_batched(model: Model):
    with running(model, wait=0.2, batch_size=8) as service:
        with ThreadPoolExecutor(16) as clients:
            asked = [clients.submit(works, service) for _ in range(16)]
            assert all(each.result() for each in asked)
        batches = service.count("batch_photos_count")
        assert service.count("batch_photos_sum") == 16
        assert batches < 16

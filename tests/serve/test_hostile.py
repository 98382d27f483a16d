"""Whatever is sent, the answer is clear, and the service goes on."""

import json
import socket

import httpx
import pytest

from tests import hostile
from tests.hostile import FORM, RAW, UPLOADS, File, Upload, form, part
from tests.serve.conftest import Running

# Pillow warns of broken notes and goes on; here that would be an error.
pytestmark = pytest.mark.filterwarnings("ignore")

PHOTO = hostile.jpeg()


@pytest.fixture(autouse=True)
def alive(service: Running):
    """After each test a photo is answered as before."""
    yield
    answer = service.client.post("/predict", files={"photos": PHOTO})
    assert answer.status_code == 200
    assert service.count("rejected_total", reason="error") == 0


def check_words(answer: httpx.Response) -> None:
    """A refusal is a sentence, and nothing of Python is in it."""
    detail = answer.json()["detail"]
    assert len(detail) > 10
    assert not any(word in detail for word in ("Traceback", 'File "', "Error(", "object at 0x"))


def test_there_are_many_kinds():
    kinds = [each.kind for each in (*hostile.FILES, *UPLOADS)] + list(RAW)
    assert len(kinds) == len(set(kinds)) >= 400


@pytest.mark.parametrize("file", hostile.FILES, ids=lambda file: file.kind)
def test_a_file(service: Running, file: File):
    body = form(part("photos", file.content, file.name))
    answer = service.client.post("/predict", content=body, headers=FORM)
    assert answer.status_code in {True: [200], False: [422], None: [200, 422]}[file.readable]
    if answer.status_code != 200:
        check_words(answer)
    (photo,) = answer.json()["photos"]
    assert photo["filename"] == file.name
    assert (photo["error"] is None) == (answer.status_code == 200)


@pytest.mark.parametrize("upload", UPLOADS, ids=lambda upload: upload.kind)
def test_an_upload(service: Running, upload: Upload):
    answer = service.client.post("/predict", content=upload.body, headers=upload.headers)
    assert answer.status_code in upload.statuses, answer.text
    if answer.status_code != 200:
        check_words(answer)


@pytest.mark.parametrize("kind", RAW)
def test_bytes(service: Running, kind: str):
    sent, expected = RAW[kind]
    with socket.create_connection(("127.0.0.1", service.port), timeout=30) as connection:
        try:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it has heard enough
        answer = b""
        try:
            while chunk := connection.recv(2**16):
                answer += chunk
        except ConnectionResetError:
            pass
    assert answer.startswith(expected), answer[:300]
    _, _, body = answer.partition(b"\r\n\r\n")
    if not answer.startswith(b"HTTP/1.1 200"):
        assert json.loads(body)["detail"]

"""A new model comes in use while requests are answered; a broken one does not."""

import json
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tagloom.serve.model_reload import ready
from tests import hostile
from tests.serve.conftest import Running, running

PHOTO = hostile.jpeg()


def change(bundle: Path, threshold: float) -> None:
    """Makes of a bundle another one, in which a label holds from ``threshold``."""
    manifest = bundle / "bundle.json"
    content = json.loads(manifest.read_text("utf-8"))
    content["decision"]["thresholds"] = [threshold] * len(content["decision"]["labels"])
    manifest.write_text(json.dumps(content), "utf-8")


def until(condition: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def copied(bundle: Path, tmp_path: Path) -> Path:
    """A bundle to be changed, whose labels never hold."""
    folder = tmp_path / "bundle"
    shutil.copytree(bundle, folder)
    change(folder, 1.0)
    return folder


@pytest.fixture
def service(copied: Path):
    with running(ready(copied, "torch"), poll=0.1) as reloading:
        yield reloading


def health(service: Running) -> dict:
    return service.client.get("/health").json()


def test_no_request_is_lost_when_the_model_changes(service: Running, copied: Path):
    answers, stop = [], threading.Event()

    def ask() -> None:
        while not stop.is_set():
            answers.append(service.client.post("/predict", files={"photos": PHOTO}))

    before = health(service)["model"]
    askers = [threading.Thread(target=ask) for _ in range(4)]
    for asker in askers:
        asker.start()
    time.sleep(0.5)
    change(copied, 0.0)
    until(lambda: health(service)["model"] != before)
    seen = len(answers)
    until(lambda: len(answers) > seen + 8)
    stop.set()
    for asker in askers:
        asker.join()

    assert {answer.status_code for answer in answers} == {200}
    after = health(service)["model"]
    # Each answer is of one model alone: its labels are those of the model that it names.
    for answer in answers:
        [photo] = answer.json()["photos"]
        assert len(photo["labels"]) == {before: 0, after: 10}[answer.json()["model"]]
    assert {answer.json()["model"] for answer in answers} == {before, after}
    assert service.count("model_loads_total", result="in use") == 1


def test_a_broken_bundle_is_refused_and_reported(service: Running, copied: Path):
    before = health(service)
    assert before["problem"] is None
    weights = copied / "network.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    until(lambda: health(service)["problem"])
    assert "network.safetensors" in health(service)["problem"]
    assert health(service)["model"] == before["model"]
    assert service.client.post("/predict", files={"photos": PHOTO}).status_code == 200
    weights.write_bytes(content)
    until(lambda: health(service)["problem"] is None)


def test_a_bundle_that_is_taken_away_stays_in_use(service: Running, copied: Path):
    shutil.rmtree(copied)
    until(lambda: health(service)["problem"])
    assert service.client.post("/predict", files={"photos": PHOTO}).status_code == 200


def test_a_bundle_that_arrives_file_by_file_is_taken_once_it_is_whole(
    service: Running, copied: Path
):
    before, weights = health(service)["model"], copied / "network.safetensors"
    content = weights.read_bytes()
    weights.unlink()
    change(copied, 0.5)
    until(lambda: "missing" in (health(service)["problem"] or ""))
    weights.write_bytes(content)
    until(lambda: health(service)["model"] != before)
    assert health(service)["problem"] is None

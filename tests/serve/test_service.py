"""The routes, as clients that mean well use them."""

import io
import os

import httpx
import numpy as np
import pytest
from PIL import Image

from stages.bundle.model import Model
from stages.ingest.decoder import decode
from tests.hostile import photo, saved
from tests.serve.conftest import Running

PHOTOS = [saved(photo(side).rotate(angle), "PNG") for side, angle in ((32, 0), (48, 90), (64, 180))]


def predict(service: Running, photos=PHOTOS, **fields) -> httpx.Response:
    files = [("photos", (f"{number}.png", content)) for number, content in enumerate(photos)]
    return service.client.post("/predict", files=files, data=fields)


def probabilities(answer: httpx.Response) -> np.ndarray:
    return np.array([list(each["probabilities"].values()) for each in answer.json()["photos"]])


def test_photos_are_answered_in_order_as_the_model_does(service: Running, model: Model):
    captions = ["one", "", "a seven and a two"]
    answer = predict(service, captions=captions)
    assert answer.status_code == 200
    content = answer.json()
    assert content["model"] == model.bundle.sha256
    assert [each["filename"] for each in content["photos"]] == ["0.png", "1.png", "2.png"]
    pixels = np.stack([decode(photo, *model.bundle.form).pixels for photo in PHOTOS])
    expected = model.probabilities(pixels, ["one", None, "a seven and a two"])
    np.testing.assert_allclose(probabilities(answer), expected, atol=1e-6)
    for each, holds, row in zip(content["photos"], model.decide(expected), expected, strict=True):
        assert list(each["probabilities"]) == model.bundle.labels
        order = np.argsort(-row)
        assert each["labels"] == [model.bundle.labels[n] for n in order if holds[n]]


def test_captions_count_and_may_be_left_out(service: Running):
    with_captions = probabilities(predict(service, captions=["seven", "seven", "seven"]))
    without = probabilities(predict(service))
    empty = probabilities(predict(service, captions=["", "", ""]))
    np.testing.assert_allclose(without, empty, atol=1e-6)
    assert np.abs(with_captions - without).max() > 1e-4


def test_one_threshold_for_all(service: Running):
    for threshold, count in (("0", 10), ("1", 0)):
        photos = predict(service, threshold=threshold).json()["photos"]
        assert [len(each["labels"]) for each in photos] == [count] * 3


def test_one_bad_photo_does_not_spoil_the_others(service: Running):
    answer = predict(service, [PHOTOS[0], b"no photo", PHOTOS[1]])
    assert answer.status_code == 200
    first, second, third = answer.json()["photos"]
    assert second["error"]
    assert second | {"error": ""} == {
        "filename": "1.png",
        "labels": None,
        "probabilities": None,
        "error": "",
    }
    assert first["error"] is third["error"] is None
    np.testing.assert_allclose(
        list(third["probabilities"].values()), probabilities(predict(service, PHOTOS[1:2]))[0],
        atol=1e-6,
    )  # fmt: skip


def test_photos_that_are_all_bad_are_an_error(service: Running):
    answer = predict(service, [b"no photo", b""])
    assert answer.status_code == 422
    no_photo, empty = (each["error"] for each in answer.json()["photos"])
    assert f"0.png: {no_photo}" in answer.json()["detail"]
    assert "empty" in empty


def test_what_the_model_knows(service: Running, model: Model):
    known = service.client.get("/labels").json()
    assert [each["name"] for each in known["labels"]] == model.bundle.labels
    assert [each["threshold"] for each in known["labels"]] == model.bundle.thresholds.tolist()
    assert (known["inputs"], known["explains"]) == ("image+caption", True)
    assert known["limits"]["photos"] == 64


def test_health(service: Running, model: Model):
    assert service.client.get("/health").json() | {"version": ""} == {
        "ready": True,
        "reason": None,
        "version": "",
        "process": os.getpid(),
        "model": model.bundle.sha256,
        "bundle": str(model.bundle.folder),
        "problem": None,
    }


def test_metrics(service: Running, model: Model):
    before = service.count("photos_total", result="answered")
    predict(service)
    text = service.client.get("/metrics").text
    assert f'tagloom_photos_total{{result="answered"}} {before + 3}' in text
    assert 'tagloom_requests_total{path="/predict",status="200"}' in text
    assert f'tagloom_model_info{{sha256="{model.bundle.sha256}"}} 1.0' in text
    assert "tagloom_network_seconds_bucket" in text
    assert "tagloom_requests_in_flight 0.0" in text
    assert "tagloom_held_bytes 0.0" in text


def explain(service: Running, label: str, content: bytes = PHOTOS[0]) -> httpx.Response:
    return service.client.post(
        "/explain", files={"photos": content}, data={"label": label, "captions": "a seven"}
    )


def test_a_heat_map_is_laid_over_the_photo(service: Running, model: Model):
    maps = []
    for label in ("1", " 7 "):
        answer = explain(service, label)
        assert answer.headers["content-type"] == "image/png"
        with Image.open(io.BytesIO(answer.content)) as image:
            assert (image.mode, image.size) == ("RGBA", (model.bundle.stored_size,) * 2)
            maps.append(np.asarray(image)[:, :, 3])
    assert max(each.max() for each in maps) > 200
    assert (maps[0] != maps[1]).any()


@pytest.mark.parametrize(
    ("label", "content", "status", "named"),
    [
        ("elephant", PHOTOS[0], 422, "label is one of 0, 1, 2"),
        ("1", b"no photo", 422, "not an image"),
    ],
)
def test_no_heat_map(service: Running, label: str, content: bytes, status: int, named: str):
    answer = explain(service, label, content)
    assert answer.status_code == status
    assert named in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/", "/docs", "/page/page.js", "/page/style.css"])
def test_pages_load_nothing_from_elsewhere(service: Running, path: str):
    answer = service.client.get(path)
    assert answer.status_code == 200
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "http://" not in answer.text.replace("http://www.w3.org", "")
    assert "https://" not in answer.text


@pytest.mark.parametrize(("path", "status"), [("/nothing", 404), ("/predict", 405)])
def test_other_addresses(service: Running, path: str, status: int):
    answer = service.client.get(path)
    assert answer.status_code == status
    assert "/docs" in answer.json()["detail"]

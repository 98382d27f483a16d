"""``tagloom next``, and the loop of label, retrain, next."""

import csv
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner, Result

from stages.bundle.bundle import read_bundle
from stages.bundle.model import load_model
from stages.ingest import records
from stages.ingest.__main__ import main as ingest
from stages.ingest.sources import Row, cvat
from tagloom.__main__ import app
from tagloom.labelling import CONTROL, IMAGE
from tests.conftest import SMALL, write_params

Run = Callable[..., Result]


@pytest.fixture
def run(bundle: Path, album: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Calls the command in a folder with six photos."""
    monkeypatch.setenv("TAGLOOM_BUNDLE", str(bundle))

    def call(*arguments: object) -> Result:
        result = CliRunner().invoke(app, ["next", *map(str, arguments)])
        assert result.exit_code == 0, result.stderr
        return result

    return call


def named(file: str = "next.csv") -> list[dict[str, str]]:
    with Path(file).open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_photos_and_why(run: Run, bundle: Path, album: Path):
    run("photos", "-n", 4)
    first = named()
    assert [row["rank"] for row in first] == ["1", "2", "3", "4"]
    there = {f"photos/{path.name}" for path in (album / "photos").iterdir()}
    assert len({row["photo"] for row in first} & there) == 4
    labels = read_bundle(bundle).labels
    for row in first:
        assert row["id"] == row["photo"]
        why = [part.rsplit(" ", 1) for part in row["why"].split("|")]
        assert {name for name, _ in why} < set(labels)
        assert all(0 <= float(probability) <= 1 for _, probability in why)
    run("photos", "-n", 4)
    assert named() == first
    run("photos", "-n", 99, "--by", "random", "-o", "any.csv", "--photos", "photos")
    assert sorted(row["id"] for row in named("any.csv")) == sorted(
        path.name for path in (album / "photos").iterdir()
    )


def test_features_are_what_the_last_layers_see(bundle: Path):
    model = load_model(bundle)
    photos = np.zeros((2, *[model.bundle.stored_size] * 2, 3), np.uint8)
    photos[1] = 255
    probabilities, features = model.features(photos, [None, "three"])
    assert np.array_equal(probabilities, model.probabilities(photos, [None, "three"]))
    assert features.dtype == np.float32
    assert len(features) == 2
    assert not np.allclose(*features)
    with pytest.raises(ValueError, match="torch"):
        load_model(bundle, "onnx").features(photos, None)


def test_tasks_for_label_studio(run: Run, bundle: Path):
    said = run("photos", "-n", 3, "--label-studio", "tasks.json", "--address", "http://x/").stdout
    tasks = json.loads(Path("tasks.json").read_text("utf-8"))
    assert [task["data"]["photo_id"] for task in tasks] == [row["id"] for row in named()]
    model = load_model(bundle)
    for task in tasks:
        assert unquote(task["data"][IMAGE]) == f"http://x/{task['data']['photo_id']}"
        [prediction] = task["predictions"]
        [result] = prediction["result"]
        assert set(result["value"]["choices"]) <= set(model.bundle.labels)
        assert 0 <= prediction["score"] <= 1
    view = ElementTree.fromstring(said[said.index("<View>") :])
    choices = view.find("Choices")
    assert choices is not None
    assert (choices.get("name"), choices.get("choice")) == (result["from_name"], "multiple")
    assert choices.get("toName") == view.find("Image").get("name") == result["to_name"]
    assert [each.get("value") for each in choices] == model.bundle.labels


def test_a_zip_for_cvat(run: Run, bundle: Path, album: Path):
    said = run("photos", "-n", 3, "--cvat", "tasks.zip", "--photos", "photos").stdout
    labels = json.loads(said[said.index("[{") :])
    assert [label["name"] for label in labels] == read_bundle(bundle).labels
    with zipfile.ZipFile("tasks.zip") as archive:
        archive.extractall("task")
    options = cvat.Options(annotations="annotations.xml", photos="images")
    rows = [row for row in cvat.rows(Path("task"), options) if isinstance(row, Row)]
    # CVAT sorts photos by their names when it numbers them.
    assert [row.id for row in rows] == sorted(row["id"] for row in named())
    for row in rows:
        sent = Path("task", str(row.photo)).read_bytes()
        assert sent == (album / "photos" / row.id).read_bytes()
    images = ElementTree.parse("task/annotations.xml").findall("image")
    assert [image.get("id") for image in images] == ["0", "1", "2"]
    assert images[0].attrib.items() >= {"width": "32", "height": "32"}.items()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "data/records.parquet"),
        (["../photos", "--cvat", "tasks.zip"], "--photos"),
    ],
)
def test_what_cannot_be_done(
    run: Run, album: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
):
    (album / "elsewhere").mkdir()
    monkeypatch.chdir(album / "elsewhere")
    failed = CliRunner().invoke(app, ["next", *arguments])
    assert failed.exit_code == 1
    assert words in failed.stderr
    assert not Path("tasks.zip").exists()


def export(tasks: list[dict[str, Any]], truth: dict[str, list[str]]) -> list[dict[str, Any]]:
    """The export of Label Studio after somebody has labelled the tasks."""
    done = []
    for number, task in enumerate(tasks, 1):
        value = {"choices": truth[task["data"]["photo_id"]]}
        result = {"id": "Dx_aB91ISN", "type": "choices", "value": value, "origin": "manual"}
        result |= {"from_name": CONTROL, "to_name": IMAGE}
        annotation = {"id": number, "completed_by": 1, "result": [result], "was_cancelled": False}
        done.append({"id": number, "annotations": [annotation], "drafts": [], "predictions": [],
                     "data": task["data"], "meta": {}, "project": 1})  # fmt: skip
    return done


def test_label_retrain_next(run: Run, album: Path):
    """Six photos of a table, one of them labelled; two are labelled in Label Studio, then next."""
    table = pl.read_csv("photos.csv", schema_overrides={"labels": pl.String})
    ids = [Path(photo).name for photo in table["photo"]]
    truth = {
        id: labels.split() for id, labels in zip(ids, table["labels"].fill_null(""), strict=True)
    }
    every = sorted({label for labels in truth.values() for label in labels})
    shutil.move("photos", "raw")
    lines = [f"{ids[0]},{' '.join(truth[ids[0]])}", *(f"{id},nan" for id in ids[1:])]
    Path("raw/photos.csv").write_text("\n".join(["id,labels", *lines]))
    Path("data/corrections").mkdir(parents=True)
    write_params(
        SMALL
        | {"ingest.source": "table", "ingest.root": "raw", "ingest.table.photos": ".",
           "ingest.labels": every},
        Path(),
    )  # fmt: skip
    ingest()
    run("-n", 2, "--photos", "raw", "--label-studio", "tasks.json")
    first = [row["id"] for row in named()]
    assert set(first) < set(ids[1:])
    assert all(Path(row["photo"]).exists() for row in named())
    tasks = json.loads(Path("tasks.json").read_text("utf-8"))
    assert tasks[0]["data"][IMAGE] == f"/data/local-files/?d=raw/{first[0]}"

    Path("data/corrections/label-studio.json").write_text(json.dumps(export(tasks, truth)))
    ingest()
    known = dict(records.read().select("id", "labels").iter_rows())
    assert {id for id, labels in known.items() if labels is not None} == {ids[0], *first}
    assert {id: set(known[id]) for id in first} == {id: set(truth[id]) for id in first}
    run("-n", 9, "--photos", "raw")
    assert {row["id"] for row in named()} == set(ids[1:]) - set(first)

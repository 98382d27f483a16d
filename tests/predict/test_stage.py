"""The stage as it runs, after a real train, threshold and bundle."""

import csv
import json
import shutil
from functools import partialmethod
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image
from sklearn.metrics import f1_score

from stages import metrics, resumable
from stages.bundle.model import Model
from stages.files import cache_folder
from stages.ingest import records
from stages.network.probabilities import read_label_names, read_probabilities
from stages.predict.__main__ import PREDICTIONS, SUBMISSION, main
from stages.predict.sheet import NOBODY, SHEET
from stages.threshold.decision import read_decision


@pytest.fixture
def trained(bundle: Path, in_tmp: Path, params) -> Path:
    """The small sample with all that comes before predict."""
    shutil.copytree(bundle.parents[1], in_tmp, dirs_exist_ok=True)
    params()
    return in_tmp


def said() -> dict:
    return json.loads(Path("metrics/predict.json").read_text())


def test_each_test_photo_gets_its_labels(trained: Path):
    main()
    test = records.read().filter(pl.col("subset") == "test")
    names = records.read_label_names()
    table = read_probabilities(PREDICTIONS)
    assert table["id"].to_list() == test["id"].to_list()
    assert read_label_names(PREDICTIONS) == names
    found = table["probabilities"].to_numpy()
    assert found.shape == (40, 10)
    expected = read_decision().decide(found)
    assert (records.label_matrix(table["predicted"], names) == expected).all()
    with SUBMISSION.open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["ImageID", "Labels"]
    assert rows[1:] == [
        [id, " ".join(labels)] for id, labels in table.select("id", "predicted").iter_rows()
    ]
    truth = records.label_matrix(test["labels"], names)
    f1 = f1_score(truth, expected, average="micro")
    assert said()["micro_f1"] == pytest.approx(f1, abs=1e-6)
    assert said()["photos"] == said()["photos_with_known_labels"] == 40
    assert said()["model"] == "models/bundle"
    with Image.open(SHEET) as sheet:
        assert sheet.width > 500


def test_the_batch_size_changes_nothing(trained: Path, params):
    main()
    first = read_probabilities(PREDICTIONS)["probabilities"].to_numpy()
    params({"predict.batch_size": 7})
    main()
    again = read_probabilities(PREDICTIONS)["probabilities"].to_numpy()
    assert np.allclose(first, again, atol=1e-6)


def test_a_killed_run_goes_on_with_the_rest(trained: Path, params, monkeypatch: pytest.MonkeyPatch):
    params({"predict.batch_size": 7})
    main()
    expected = PREDICTIONS.read_bytes()
    monkeypatch.setattr(resumable, "SECONDS_BETWEEN_KEEPING", 0)
    probabilities, asked = Model.probabilities, []

    def until(model: Model, batch: int, *given: Any) -> np.ndarray:
        if len(asked) == batch:
            raise KeyboardInterrupt
        answers = probabilities(model, *given)
        asked.append(len(answers))
        return answers

    for batch in (2, 3):
        monkeypatch.setattr(Model, "probabilities", partialmethod(until, batch))
        with pytest.raises(KeyboardInterrupt):
            main()
    monkeypatch.setattr(Model, "probabilities", partialmethod(until, -1))
    main()
    assert asked == [7] * 5 + [5]
    assert PREDICTIONS.read_bytes() == expected
    assert not list(cache_folder("predict").iterdir())


def test_metrics_count_only_photos_whose_labels_are_known(trained: Path):
    everything = records.read()
    unknown = (pl.col("subset") == "test") & (pl.col("image") % 2 == 0)
    labels = pl.when(~unknown).then(pl.col("labels"))
    records.write(everything.with_columns(labels=labels), records.read_label_names())
    main()
    table = read_probabilities(PREDICTIONS).drop_nulls("labels")
    names = records.read_label_names()
    truth = records.label_matrix(table["labels"], names)
    predicted = records.label_matrix(table["predicted"], names)
    assert said()["photos_with_known_labels"] == len(table) == 20
    assert said()["micro_f1"] == pytest.approx(metrics.micro_f1(truth, predicted), abs=1e-6)


def test_metrics_count_only_labels_that_are_known(trained: Path):
    everything, names = records.read(), records.read_label_names()
    hidden = pl.lit([names[2]], pl.List(pl.String))
    others = pl.col("labels").list.eval(pl.element().filter(pl.element() != names[2]))
    some = (pl.col("subset") == "test") & (pl.col("image") % 2 == 0)
    changes = {
        "labels": pl.when(some).then(others).otherwise("labels"),
        "unknown": pl.when(some).then(hidden),
    }
    records.write(everything.with_columns(**changes), names)
    main()
    table = read_probabilities(PREDICTIONS)
    truth = records.label_matrix(table["labels"], names)
    predicted = records.label_matrix(table["predicted"], names)
    known = records.known_matrix(table["unknown"], names)
    assert known is not None
    assert (~known).sum() == 20
    for name in ("micro_f1", "subset_accuracy"):
        expected = getattr(metrics, name)(truth, predicted, known)
        assert said()[name] == pytest.approx(expected, abs=1e-6)
    assert said()["photos_with_known_labels"] == 40


def test_without_known_labels_there_are_no_metrics(trained: Path):
    unknown = pl.lit(None, pl.List(pl.String))
    records.write(records.read().with_columns(labels=unknown), records.read_label_names())
    main()
    assert "micro_f1" not in said()
    assert said()["photos"] == 40


def test_without_a_test_photo_the_tables_are_empty(trained: Path, capsys):
    train_only = records.read().filter(pl.col("subset") == "train")
    records.write(train_only, records.read_label_names())
    main()
    assert NOBODY in capsys.readouterr().out
    assert len(read_probabilities(PREDICTIONS)) == 0
    assert SUBMISSION.read_text() == "ImageID,Labels\n"
    assert said()["photos"] == 0

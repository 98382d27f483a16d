"""Photos that are held out: nothing is chosen by them, and predict measures on them."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from stages import metrics
from stages.bundle.__main__ import main as bundle
from stages.bundle.bundle import BUNDLE, MANIFEST
from stages.ingest import records
from stages.network.probabilities import VALIDATION, read_probabilities
from stages.predict.__main__ import PREDICTIONS, SUBMISSION
from stages.predict.__main__ import main as predict
from stages.split import folds
from stages.split.__main__ import main as split
from stages.threshold.__main__ import main as threshold
from stages.threshold.captions_alone import CAPTIONS_ALONE
from stages.threshold.decision import DECISION
from stages.train.__main__ import main as train
from stages.vocab.__main__ import main as vocab
from stages.vocab.vocabulary import VOCABULARY

TABLES = (VOCABULARY, VALIDATION, CAPTIONS_ALONE, DECISION)


@pytest.fixture
def held_out(prepared: Path, params: Callable[..., None]) -> pl.DataFrame:
    """The records of the holdout; the test photos' labels are not known."""
    params({"split.holdout": 0.2, "train.epochs": 1})
    of_train = pl.when(pl.col("subset") == "train").then("labels")
    records.write(records.read().with_columns(labels=of_train), records.read_label_names())
    split()
    run(vocab, train, threshold, bundle)
    return folds.rows_of(records.read(), folds.read(), "holdout")


def run(*stages: Callable[[], None]) -> None:
    for stage in stages:
        stage()


def made() -> dict[str, bytes]:
    """What stages before predict have written, but for times and the records' hash."""
    files = [*TABLES, *Path("models").rglob("*"), *Path("metrics/threshold").iterdir()]
    content = {str(file): file.read_bytes() for file in files if file.is_file()}
    sha256 = json.loads(content[str(BUNDLE / MANIFEST)])["provenance"]["data"]["records_sha256"]
    seconds = json.loads(Path("metrics/train.json").read_bytes())["seconds"]
    content["threshold"] = Path("metrics/threshold.json").read_bytes()
    without = content[str(BUNDLE / MANIFEST)].replace(sha256.encode(), b"")
    manifest = json.loads(without)
    assert manifest["provenance"].pop("training_seconds") == seconds
    for changed in (BUNDLE / MANIFEST, BUNDLE / "README.md"):
        del content[str(changed)]
    del manifest["files"]["README.md"]  # it names the hash of the records
    return content | {"manifest": json.dumps(manifest).encode()}


def check_measured(held_out: pl.DataFrame) -> None:
    """That predict has measured the holdout, and answered for the test set."""
    table, names = read_probabilities(PREDICTIONS), records.read_label_names()
    assert table["id"][40:].to_list() == held_out["id"].to_list()
    assert table["labels"][:40].null_count() == 40
    assert len(pl.read_csv(SUBMISSION)) == 40  # the answer for the test set
    known = table[40:]
    truth, decided = (records.label_matrix(known[n], names) for n in ("labels", "predicted"))
    measured = json.loads(Path("metrics/predict.json").read_text())
    assert measured["photos_with_known_labels"] == len(known) == 32
    for name, figure in measured["holdout"].items():
        assert "reason" in figure or figure["low"] <= figure["value"] <= figure["high"], name
    assert measured["holdout"]["micro_f1"]["value"] == measured["micro_f1"]
    assert measured["micro_f1"] == pytest.approx(metrics.micro_f1(truth, decided), abs=1e-6)
    f1 = [each["f1"] or 0 for each in measured["labels"].values()]
    assert np.mean(f1) == pytest.approx(measured["holdout"]["macro_f1"]["value"], abs=1e-6)
    alone = read_probabilities(CAPTIONS_ALONE).filter(pl.col("id").is_in(known["id"].implode()))
    plain = records.label_matrix(alone["predicted"], names)
    expected = pytest.approx(metrics.micro_f1(truth, plain), abs=1e-6)
    assert measured["captions_alone"]["micro_f1"] == expected


def test_predict_measures_there_and_no_stage_before_reads_its_labels(held_out: pl.DataFrame):
    before = made()
    predict()
    check_measured(held_out)
    measured = json.loads(Path("metrics/predict.json").read_text())
    names = records.read_label_names()
    spoilt = pl.when(pl.col("id").is_in(held_out["id"].implode())).then(pl.lit(names[3:4]))
    records.write(records.read().with_columns(labels=spoilt.otherwise("labels")), names)
    run(vocab, train, threshold, bundle)
    assert made() == before
    predict()
    again = json.loads(Path("metrics/predict.json").read_text())
    assert measured["holdout"] != again["holdout"]
    assert again["labels"][names[3]]["count"] == len(held_out) == measured["photos"] - 40

"""Two real networks, judged on photos that neither was trained on."""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import f1_score

from evaluation.judge.__main__ import main
from evaluation.judge.sides import Champion, Side, by_label, in_use_side, new_side, unseen
from stages.bundle.__main__ import main as bundle
from stages.bundle.bundle import MANIFEST, read_bundle, seal
from stages.bundle.model import load_model
from stages.ingest import records
from stages.network.probabilities import read_probabilities
from stages.split import folds
from stages.threshold.__main__ import main as threshold
from stages.threshold.decision import Decision, read_decision
from stages.train.__main__ import main as train
from tests.conftest import SMALL, run_stages, write_params
from tests.once import made_once

WHO = ("champion", "challenger")
LEFT = ("models/bundle", "data/records.parquet", "data/folds.parquet")


@pytest.fixture(scope="session")
def _two_models(_prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small sample with a network of four epochs, and what a run of one left in champion."""

    def make(folder: Path) -> None:
        shutil.copytree(_prepared, folder, dirs_exist_ok=True)
        write_params(SMALL | {"train.epochs": 1}, folder)
        run_stages(folder, train, threshold, bundle)
        for name in LEFT:
            copy = shutil.copytree if (folder / name).is_dir() else shutil.copy
            (folder / "champion").mkdir(exist_ok=True)
            copy(folder / name, folder / "champion" / Path(name).name)
        write_params(SMALL | {"train.epochs": 4}, folder)
        run_stages(folder, train, threshold, bundle)

    return made_once(tmp_path_factory, "two-models", make)


@pytest.fixture
def champion(_two_models: Path, in_tmp: Path) -> Path:
    """What a run of one epoch left; the project's own network has had four."""
    shutil.copytree(_two_models, in_tmp, dirs_exist_ok=True)
    return in_tmp / "champion"


def describe_otherwise(bundle: Path, change: Callable[[dict], None]) -> None:
    """Changes what a bundle says of its network, and seals it anew."""
    content = json.loads((bundle / MANIFEST).read_text("utf-8"))
    change(content)
    seal(bundle, {key: content[key] for key in content.keys() - {"format", "files"}})


def judge(champion: Path) -> dict:
    main([str(champion), "--out", "verdict.json"])
    return json.loads(Path("verdict.json").read_text("utf-8"))


def _value(verdict: dict, who: str) -> float:
    return verdict[who]["micro_f1"]["value"]


def micro_f1(probabilities: np.ndarray, decision: Decision) -> float:
    rows = folds.rows_of(records.read(), folds.read(), "validation")
    truth = records.label_matrix(rows["labels"], records.read_label_names())
    return f1_score(truth, decision.apply(probabilities), average="micro", zero_division=0)


def test_both_are_measured_on_the_same_photos(champion: Path):
    before = read_bundle(champion / "bundle").content.decision
    own = read_probabilities()["probabilities"].to_numpy()
    verdict = judge(champion)
    assert verdict["rows"] == len(own)
    gain = _value(verdict, "challenger") - _value(verdict, "champion")
    assert verdict["gain"]["value"] == pytest.approx(gain)
    # So few photos allow no interval of the gain, and hardly any of a label.
    assert verdict["gain"]["low"] is None
    assert "are needed" in verdict["gain"]["reason"]
    # By the thresholds that were chosen on these photos the new one would look better.
    assert _value(verdict, "challenger") <= micro_f1(own, read_decision())
    counts = records.label_matrix(
        folds.rows_of(records.read(), folds.read(), "validation")["labels"],
        records.read_label_names(),
    ).sum(axis=0)
    assert [each["count"] for each in verdict["labels"].values()] == counts.tolist()
    for each in verdict["labels"].values():
        assert "known" not in each
        for f1 in (each[who] for who in WHO):
            assert ("reason" in f1) or f1["low"] <= f1["value"] <= f1["high"]
    assert verdict["drift"]["photos"] == {"before": 200, "new": 0}

    # Against itself: the network says again what it said, by the thresholds in use.
    def decide_as_before(content: dict) -> None:
        content["decision"] = asdict(before)

    shutil.rmtree(champion / "bundle")
    shutil.copytree("models/bundle", champion / "bundle")
    describe_otherwise(champion / "bundle", decide_as_before)
    again = judge(champion)
    assert _value(again, "champion") == pytest.approx(micro_f1(own, before), abs=0.01)


def test_photos_that_the_champion_was_trained_on_do_not_count(champion: Path):
    theirs = folds.read(champion / "folds.parquet")
    validation = theirs.filter(pl.col("part") == "validation")["id"]
    seen = validation[: len(validation) // 2]
    is_seen = pl.col("id").is_in(seen.implode())
    learnt = theirs.with_columns(part=pl.when(is_seen).then(pl.lit("train")).otherwise("part"))
    folds.write(learnt, champion / "folds.parquet")
    left = unseen(Champion.at(champion))["id"].to_list()
    assert left == validation[len(seen) :].to_list()
    assert judge(champion)["rows"] == len(left)
    folds.write(theirs.with_columns(part=pl.lit("train")), champion / "folds.parquet")
    assert "the model in use was trained on" in judge(champion)["incomparable"]


def test_a_photo_is_known_by_its_bytes_whatever_its_name(champion: Path):
    table = pl.read_parquet(champion / "records.parquet")
    names = records.read_label_names()
    known = len(unseen(Champion.at(champion)))
    other = table.with_columns(pl.concat_str(pl.lit("renamed-"), "id").alias("id"))
    records.write(other, names, champion / "records.parquet")
    parts = folds.read(champion / "folds.parquet").with_columns(
        pl.concat_str(pl.lit("renamed-"), "id").alias("id"), part=pl.lit("train")
    )
    folds.write(parts[:-3], champion / "folds.parquet")
    validates = folds.read()["part"] == "validation"
    assert len(unseen(Champion.at(champion))) == validates[-3:].sum() < known


def test_what_is_not_known_of_a_photo_counts_for_neither(champion: Path):
    names, table = records.read_label_names(), records.read()
    matrix = records.label_matrix(table["labels"].fill_null([]), names)
    hidden = np.random.default_rng(0).random(matrix.shape) < 0.4
    left, unknown = (records.label_lists(each, names) for each in (matrix & ~hidden, hidden))
    labelled = pl.when(table["labels"].is_not_null())
    changed = table.with_columns(labels=labelled.then(left), unknown=labelled.then(unknown))
    records.write(changed, names)

    verdict, rows = judge(champion), unseen(Champion.at(champion))
    truth = records.label_matrix(rows["labels"], names)
    known = ~hidden[table.with_row_index().join(rows, "id", "semi")["index"].to_numpy()]
    decided = {
        "champion": in_use_side(load_model(champion / "bundle"), rows, names).decided,
        "challenger": new_side(load_model(), rows, truth, known).decided,
    }
    for who, each in decided.items():
        assert _value(verdict, who) == pytest.approx(f1_score(truth[known], each[known]))
        f1 = [verdict["labels"][name][who]["value"] for name in names]
        assert f1 == pytest.approx(
            [f1_score(t[k], d[k]) for t, k, d in zip(truth.T, known.T, each.T, strict=True)]
        )
    gain = _value(verdict, "challenger") - _value(verdict, "champion")
    assert verdict["gain"]["value"] == pytest.approx(gain)
    of_labels = verdict["labels"].values()
    assert [each["known"] for each in of_labels] == known.sum(axis=0).tolist()
    assert [each["count"] for each in of_labels] == truth.sum(axis=0).tolist()


def test_of_a_label_that_no_photo_carries_nothing_is_known():
    truth = np.array([[True, False], [True, False]])
    sides = {who: Side(truth.astype(np.float32), truth | [False, who == WHO[0]]) for who in WHO}
    found = by_label(truth, ["cat", "dog"], sides, None)
    assert found["dog"] == {"count": 0, "champion": None, "challenger": None}
    assert found["cat"]["champion"]["value"] == 1
    known = np.array([[True, True], [False, True]])
    assert by_label(~truth, ["cat", "dog"], sides, ~known)["dog"]["challenger"] is None


def renamed(place: int, name: str) -> Callable[[dict], None]:
    def rename(content: dict) -> None:
        measured = content["metrics"]["validation"]["labels"]
        measured[name] = measured.pop(content["description"]["labels"][place])
        content["description"]["labels"][place] = content["decision"]["labels"][place] = name

    return rename


def test_a_label_that_the_champion_does_not_know_it_never_says(champion: Path):
    describe_otherwise(champion / "bundle", renamed(3, "another"))
    found = judge(champion)["labels"]["3"]
    assert found["champion"]["value"] == 0


def test_a_label_has_the_same_name_in_a_champion_from_before_names_were_clean(champion: Path):
    before = judge(champion)["labels"]["0"]["champion"]

    describe_otherwise(champion / "bundle", renamed(0, " 0"))
    assert judge(champion)["labels"]["0"]["champion"] == before
    assert before["value"] > 0


def test_photos_of_another_size_cannot_be_shown_to_it(champion: Path):
    def enlarge(content: dict) -> None:
        content["description"]["stored_size"] = 64

    describe_otherwise(champion / "bundle", enlarge)
    said = judge(champion)["incomparable"]
    assert "wants photos of 64 pixels, and they are stored with 32" in said


def test_photos_scaled_otherwise_cannot_be_shown_to_it(champion: Path):
    def deepen(content: dict) -> None:
        content["description"]["depth"] = [0, 4095]

    describe_otherwise(champion / "bundle", deepen)
    said = judge(champion)["incomparable"]
    assert "scaled by (0.0, 4095.0), and they are scaled by type now" in said


def test_photos_fitted_otherwise_cannot_be_shown_to_it(champion: Path):
    describe_otherwise(
        champion / "bundle", lambda content: content["description"].update(fit="pad")
    )
    said = judge(champion)["incomparable"]
    assert "made square by pad, and that is done by stretch now (ingest.fit)" in said

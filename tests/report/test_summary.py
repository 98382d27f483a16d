"""What a run is compared with: found in Git wherever it may be, and missed without harm."""

import hashlib
import json
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from stages.ingest.records import label_lists
from stages.intervals import report
from stages.network.probabilities import probability_table, write_probabilities
from stages.params import read
from stages.report import paired, revision, summary
from stages.report.validation import Validation
from stages.threshold import calibration
from stages.threshold.fit import cross_fit, find_temperature
from stages.threshold.params import Threshold
from tests.conftest import write_params


def git(*arguments: str) -> str:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    command = ["git", *identity, *arguments]
    return subprocess.run(command, check=True, text=True, capture_output=True).stdout.strip()


def figures(f1: float) -> dict:
    each = {"value": f1, "low": f1 - 0.01, "high": f1 + 0.01}
    return {"cross_fitted": dict.fromkeys(summary.METRICS, each)}


@pytest.fixture
def project(in_tmp: Path) -> str:
    """The commit of a project with a model; the folder, changed since, is the current one."""
    git("init", "--quiet", "--initial-branch=main")
    write_params({"train.lr": 0.001})
    Path("data").mkdir()
    summary.FOLDS.write_bytes(b"folds")
    summary.RECORDS.write_bytes(b"records")
    md5 = hashlib.md5(b"folds").hexdigest()
    lock = {"stages": {"split": {"outs": [{"path": "data/folds.parquet", "md5": md5}]}}}
    Path("dvc.lock").write_text(json.dumps(lock))
    Path("metrics").mkdir()
    Path("metrics/threshold.json").write_text(json.dumps(figures(0.8)))
    Path("metrics/train.json").write_text('{"mb": 3.0}')
    git("add", "--all")
    git("commit", "--quiet", "--message", "A model")
    git("tag", "v1")
    commit = git("rev-parse", "HEAD")
    git("update-ref", f"refs/exps/{commit[:2]}/{commit[2:]}/tried", commit)
    git("update-ref", "refs/remotes/origin/champion", commit)
    write_params({"train.lr": 0.002, "retrain.min_gain": 0.5})
    return commit


@pytest.mark.parametrize("name", ["main", "v1", "HEAD", "tried", "champion"])
def test_branches_tags_experiments_and_those_of_a_remote_are_found(project: str, name: str):
    known = revision.find(name)
    assert (known.name, known.commit) == (name, project)
    assert known.json("metrics/train.json") == {"mb": 3.0}
    assert known.json("metrics/none.json") == {}


def test_below_the_top_folder_of_a_repository(project: str, monkeypatch: pytest.MonkeyPatch):
    Path("vision/birds/metrics").mkdir(parents=True)
    Path("vision/birds/metrics/train.json").write_text('{"mb": 4.0}')
    git("add", "--all")
    git("commit", "--quiet", "--message", "Another project")
    git("branch", "champion-vision-birds")
    monkeypatch.chdir("vision/birds")
    champion = revision.find("champion")
    assert champion.commit == git("rev-parse", "HEAD")
    assert champion.json("metrics/train.json") == {"mb": 4.0}


@pytest.mark.parametrize("name", ["nothing", "--all", "-p", "", "main:params.yaml", "a b"])
def test_what_is_no_revision_is_none(project: str, name: str):
    assert revision.find(name) is None
    assert summary.against(name, summary.VALIDATION) is None


def test_without_git_there_is_nothing_to_compare_with(project: str, monkeypatch):
    monkeypatch.delenv("DVC_EXP_NAME", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    assert revision.find("main") is None
    assert summary.run_name() == ("Folder", Path.cwd().name)


def test_a_run_is_called_by_its_experiment_or_its_branch(project: str, monkeypatch):
    monkeypatch.delenv("DVC_EXP_NAME", raising=False)
    assert summary.run_name() == ("Branch", "main")
    monkeypatch.setenv("DVC_EXP_NAME", "tried")
    assert summary.run_name() == ("Experiment", "tried")


def test_an_experiments_workspace_sees_the_branches_of_its_checkout(project: str, monkeypatch):
    workspace = Path(".dvc/tmp/exps/tmp123").resolve()
    workspace.mkdir(parents=True)
    monkeypatch.chdir(workspace)
    git("init", "--quiet")
    assert revision.find("champion").commit == project


def test_figures_stand_beside_those_of_the_other(project: str):
    other = summary.against("champion", summary.VALIDATION)
    assert other.same_photos and other.train == {"mb": 3.0}
    table = summary.headline(figures(0.9)["cross_fitted"], other, {})
    assert table["metric"].to_list() == list(summary.METRICS.values())
    first = table.row(0, named=True)
    ends = ("value", "low", "high", "other", "other_low", "other_high", "gain")
    expected = (0.9, 0.89, 0.91, 0.8, 0.79, 0.81, 0.1)
    assert [first[end] for end in ends] == pytest.approx(expected)
    assert not first["paired"]
    alone = summary.headline(figures(0.9)["cross_fitted"], None, {}).row(0, named=True)
    assert [alone[end] for end in ends] == [0.9, 0.89, 0.91, None, None, None, None]
    held = summary.against("champion", summary.HOLDOUT)
    assert (held.metrics, held.same_photos) == ({}, None)  # whether the test photos are is open
    summary.FOLDS.write_bytes(b"other folds")
    assert summary.against("champion", summary.VALIDATION).same_photos is False


def test_what_has_no_interval_says_why(project: str):
    without = {"value": 0.9, "low": None, "high": None, "reason": "5 photos"}
    gain = {"micro_f1": {"value": 0.1, "low": 0.05, "high": 0.15}}
    found = summary.headline(
        dict.fromkeys(summary.METRICS, without),
        summary.against("champion", summary.VALIDATION),
        gain,
    )
    first, second = found.head(2).to_dicts()
    assert (first["low"], first["reason"]) == (None, "5 photos")
    assert (first["paired"], first["gain_low"], first["gain_high"]) == (True, 0.05, 0.15)
    assert (second["paired"], second["gain_low"]) == (False, None)


def test_what_the_other_answered_is_found_in_the_cache(project: str):
    other = summary.against("champion", summary.VALIDATION)
    assert other.revision.output("split", summary.FOLDS) is None
    digest = hashlib.md5(b"folds").hexdigest()
    for cache, config in ((".dvc/cache", ""), ("shared", "[cache]\n    dir = ../shared\n")):
        file = Path(cache, "files/md5", digest[:2], digest[2:])
        file.parent.mkdir(parents=True)
        file.write_bytes(b"folds")
        Path(".dvc/config").write_text(config)
        found = other.revision.output("split", summary.FOLDS)
        assert found is not None and found.samefile(file)
        file.unlink()
    assert other.revision.output("train", Path("data/validation.parquet")) is None


def test_a_gain_is_of_the_same_photos(project: str):
    random = np.random.default_rng(0)
    truth, names = random.random((200, 3)) < 0.4, ["cat", "dog", "owl"]
    ids, labels = pl.Series([f"{i}.jpg" for i in range(200)]), label_lists(truth, names)
    noise = random.random((2, *truth.shape))
    theirs, ours = (0.3 * truth + 0.7 * each for each in (noise[0], 0.9 * noise[0]))
    digest, file = "0" * 32, Path(".dvc/cache/files/md5/00", "0" * 30)
    file.parent.mkdir(parents=True)
    write_probabilities(probability_table(ids, labels, theirs.astype(np.float32)), names, file)
    lock = json.loads(Path("dvc.lock").read_text())
    lock["stages"]["train"] = {"outs": [{"path": "data/validation.parquet", "md5": digest}]}
    Path("dvc.lock").write_text(json.dumps(lock))
    params = read(Threshold)
    scores = calibration.scaled(theirs.astype(np.float32), find_temperature(truth, theirs, params))
    then = report(truth, scores, cross_fit(truth, scores, params))
    Path("metrics/threshold.json").write_text(json.dumps({"cross_fitted": then}))
    git("add", "--all", "--", "dvc.lock", "metrics")
    git("commit", "--quiet", "--message", "Another model")
    now = report(truth, ours, cross_fit(truth, ours, params))

    photos = pl.DataFrame({"id": ids})
    known = np.ones_like(truth)
    validation = Validation(names, photos, truth, truth, known, ours, [0.5] * 3)
    on, other = summary.VALIDATION, summary.against("main", summary.VALIDATION)
    found = paired.gains(on, now, other, validation)
    assert found.keys() == summary.METRICS.keys()
    for name, gain in found.items():
        assert gain["value"] == pytest.approx(now[name]["value"] - then[name]["value"])
    gain = found["micro_f1"]
    assert gain["high"] - gain["low"] < now["micro_f1"]["high"] - now["micro_f1"]["low"]
    # Other photos, or other labels: nothing to pair.
    others = replace(validation, photos=photos.reverse())
    assert paired.gains(on, now, other, others) == {}
    renamed = replace(validation, names=["cat", "dog", "ox"])
    assert paired.gains(on, now, other, renamed) == {}
    assert paired.gains(on, now, None, validation) == {}


def test_a_gain_on_the_holdout_is_by_what_each_bundle_gave(project: str):
    random = np.random.default_rng(0)
    truth, names = random.random((120, 2)) < 0.4, ["cat", "dog"]
    ids, labels = pl.Series([f"{i}.jpg" for i in range(120)]), label_lists(truth, names)
    scores = [np.clip(truth + random.normal(0, noise, truth.shape), 0, 1) for noise in (0.7, 0.5)]
    then, now = (report(truth, each, each > 0.5) for each in scores)
    cached = Path(".dvc/cache/files/md5/00", "0" * 30)
    cached.parent.mkdir(parents=True)
    for each, file in zip(scores, (cached, paired.PREDICTIONS), strict=True):
        table = probability_table(ids, labels, each.astype(np.float32))
        predicted = label_lists(each > 0.5, names).alias("predicted")
        write_probabilities(table.with_columns(predicted), names, file)
    lock = json.loads(Path("dvc.lock").read_text())
    lock["stages"]["predict"] = {"outs": [{"path": str(paired.PREDICTIONS), "md5": "0" * 32}]}
    Path("dvc.lock").write_text(json.dumps(lock))
    Path("metrics/predict.json").write_text(json.dumps({"holdout": then}))
    git("add", "--all", "--", "dvc.lock", "metrics")
    git("commit", "--quiet", "--message", "Another model")

    Path("data/records.parquet").write_bytes(b"records")
    other = summary.against("main", summary.HOLDOUT)
    found = paired.gains(summary.HOLDOUT, now, other, None)
    assert found["micro_f1"]["low"] < found["micro_f1"]["value"] < found["micro_f1"]["high"]
    expected = now["micro_f1"]["value"] - then["micro_f1"]["value"]
    assert found["micro_f1"]["value"] == pytest.approx(expected)


def test_parameters_that_differ_are_listed_and_none_that_do_not_count(project: str):
    here = revision.find("HEAD")
    expected = {"key": "train.lr", "value": 0.002, "committed": 0.001, "other": None}
    assert summary.settings(here, None) == [expected]
    assert summary.settings(None, summary.against("v1", summary.VALIDATION)) == [
        expected | {"committed": None, "other": 0.001}
    ]
    assert summary.settings(None, None) == []

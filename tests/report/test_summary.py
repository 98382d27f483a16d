"""What a run is compared with: found in Git wherever it may be, and missed without harm."""

import hashlib
import json
import subprocess
from pathlib import Path

import pytest

from stages.report import revision, summary
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
    table = summary.headline(figures(0.9)["cross_fitted"], other)
    assert table["metric"].to_list() == list(summary.METRICS.values())
    assert table.drop("metric").row(0) == pytest.approx((0.9, 0.89, 0.91, 0.8, 0.79, 0.81, 0.1))
    alone = summary.headline(figures(0.9)["cross_fitted"], None)
    assert alone.drop("metric").row(0) == (0.9, 0.89, 0.91, None, None, None, None)
    held = summary.against("champion", summary.HOLDOUT)
    assert (held.metrics, held.same_photos) == ({}, None)  # whether the test photos are is open
    summary.FOLDS.write_bytes(b"other folds")
    assert summary.against("champion", summary.VALIDATION).same_photos is False


def test_parameters_that_differ_are_listed_and_none_that_do_not_count(project: str):
    here = revision.find("HEAD")
    expected = {"key": "train.lr", "value": 0.002, "committed": 0.001, "other": None}
    assert summary.settings(here, None) == [expected]
    assert summary.settings(None, summary.against("v1", summary.VALIDATION)) == [
        expected | {"committed": None, "other": 0.001}
    ]
    assert summary.settings(None, None) == []

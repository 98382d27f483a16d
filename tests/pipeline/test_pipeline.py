"""What DVC's users do, on the real pipeline: reproduce, change, compare."""

import json
import shutil

import polars as pl
import pytest

from tests.pipeline.conftest import Project

STAGES = "ingest eda split vocab train threshold bundle predict report".split()


@pytest.fixture
def back(project: Project):
    """Puts parameters and outputs back as they were committed."""
    yield
    project("git", "checkout", "--quiet", ".")
    project.dvc("checkout", "--quiet", "--force")


def test_everything_is_written_and_git_keeps_the_figures(project: Project):
    tracked = project("git", "ls-files").splitlines()
    for stage in STAGES:
        assert f"metrics/{stage}.json" in tracked
    assert "dvc.lock" in tracked
    data = {name for name in tracked if name.startswith(("data/", "models/"))}
    written_by_hand = {"data/corrections/README.md", "data/raw/README.md"}
    assert data == {"data/.gitignore", "models/.gitignore"} | written_by_hand
    predictions = pl.read_csv(project.root / "data/predictions.csv", infer_schema=False)
    assert predictions.columns == ["ImageID", "Labels"]
    assert len(predictions) == 40


def test_with_nothing_changed_nothing_runs(project: Project):
    assert project.ran("repro") == []
    assert project("git", "status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("changes", "runs"),
    [
        (["train.lr=5e-4"], ["train", "threshold", "bundle", "predict", "report"]),
        # test_options tells which of the keys it is that a stage is run for.
        (
            ["eda.top_words=5", "predict.batch_size=7", "report.photos=2"],
            ["eda", "predict", "report"],
        ),
    ],
)
def test_a_change_runs_what_it_touches_and_back_runs_nothing(
    project: Project, back, changes: list[str], runs: list[str]
):
    assert project.ran("exp", "run", *(f"--set-param={each}" for each in changes)) == runs
    shutil.copy(project.root / "params.yaml", project.root / "changed.yaml")
    project("git", "checkout", "--quiet", "params.yaml")
    assert project.ran("repro") == []
    assert project("git", "status", "--porcelain") == "?? changed.yaml\n"
    # … and forth again: the run cache knows both.
    shutil.move(project.root / "changed.yaml", project.root / "params.yaml")
    assert project.ran("repro") == []


def test_a_stage_that_fails_says_why_in_a_sentence(project: Project, back):
    params = project.root / "params.yaml"
    params.write_text(params.read_text().replace("small_cnn", "small_cnm"))
    with pytest.raises(AssertionError) as failure:
        project.dvc("repro")
    printed = str(failure.value)
    assert "train: train.backbone small_cnm is neither small_cnn, plain_cnn nor in" in printed
    assert "did you mean small_cnn?" in printed
    assert "Traceback" not in printed


def test_comparisons_have_something_to_say(project: Project, back):
    ran = project.ran("exp", "run", "--name", "labelwise", "-S", "threshold.scope=label")
    assert ran == ["threshold", "bundle", "predict", "report"]
    metrics = json.loads(project.dvc("metrics", "diff", "--json"))
    changed = {f"metrics/{stage}.json" for stage in ("threshold", "bundle", "predict", "report")}
    assert metrics.keys() == changed
    assert "found.micro_f1.value" in metrics["metrics/threshold.json"]
    params = json.loads(project.dvc("params", "diff", "--json"))
    assert params == {"params.yaml": {"threshold.scope": {"old": "global", "new": "label"}}}
    shown = json.loads(project.dvc("exp", "show", "--json"))
    names = [e["revs"][0]["name"] for rev in shown for e in rev.get("experiments") or []]
    assert "labelwise" in names


def test_every_plot_has_data(project: Project):
    shown = json.loads(project.dvc("plots", "show", "--json"))
    assert "errors" not in shown
    for plot, (drawn, *more) in shown["data"].items():
        assert not more, f"{plot} is drawn twice"
        assert drawn["type"] == "image" or drawn["content"]["data"]["values"], plot
    folders = [plot.split("/")[:-1] or [plot] for plot in shown["data"]]
    assert {"/".join(folder[:2]) for folder in folders} == {
        *("data", "data/eda"),
        *("metrics/ingest", "metrics/eda", "metrics/train", "metrics/threshold", "metrics/report"),
    }

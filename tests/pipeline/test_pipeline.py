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
    for name in (*STAGES, "validation", "holdout"):
        assert f"metrics/{name}.json" in tracked
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


def test_a_stage_that_fails_says_why_in_a_sentence(project: Project, back):
    params = project.root / "params.yaml"
    params.write_text(params.read_text().replace("small_cnn", "small_cnm"))
    with pytest.raises(AssertionError) as failure:
        project.dvc("repro")
    printed = str(failure.value)
    assert "train: train.backbone small_cnm is neither small_cnn, plain_cnn nor in" in printed
    assert "did you mean small_cnn?" in printed
    assert "Traceback" not in printed


def test_an_experiment_runs_what_it_touches_and_back_and_forth_runs_nothing(project: Project, back):
    """Of two stages neither of which needs the other; which key is whose, test_options tells."""
    changes = ["--set-param=threshold.scope=label", "--set-param=eda.top_words=5"]
    ran = project.ran("exp", "run", "--name", "labelwise", *changes)
    assert ran == ["eda", "threshold", "bundle", "predict", "report"]
    # Comparisons have something to say.
    metrics = json.loads(project.dvc("metrics", "diff", "--json"))
    assert metrics.keys() <= {"metrics/validation.json", "metrics/holdout.json"}
    assert "micro_f1" in metrics["metrics/validation.json"]
    params = json.loads(project.dvc("params", "diff", "--json"))["params.yaml"]
    assert params["threshold.scope"] == {"old": "global", "new": "label"}
    assert params["eda.top_words"]["new"] == 5
    assert len(params) == 2
    shown = json.loads(project.dvc("exp", "show", "--json"))
    names = [e["revs"][0]["name"] for rev in shown for e in rev.get("experiments") or []]
    assert "labelwise" in names

    shutil.copy(project.root / "params.yaml", project.root / "changed.yaml")
    project("git", "checkout", "--quiet", "params.yaml")
    assert project.ran("repro") == []
    assert project("git", "status", "--porcelain") == "?? changed.yaml\n"
    # … and forth again: the run cache knows both.
    shutil.move(project.root / "changed.yaml", project.root / "params.yaml")
    assert project.ran("repro") == []


def test_every_plot_has_data(project: Project):
    shown = json.loads(project.dvc("plots", "show", "--json"))
    assert "errors" not in shown
    figures = {path for path in shown["data"] if path.endswith(".json")}  # nothing to draw there
    assert figures == {f"metrics/{stage}.json" for stage in STAGES}
    assert not any(shown["data"].pop(path) for path in figures)
    for plot, (drawn, *more) in shown["data"].items():
        assert not more, f"{plot} is drawn twice"
        assert drawn["type"] == "image" or drawn["content"]["data"]["values"], plot
    folders = [plot.split("/")[:-1] or [plot] for plot in shown["data"]]
    assert {"/".join(folder[:2]) for folder in folders} == {
        *("data", "data/eda"),
        *("metrics/ingest", "metrics/eda", "metrics/train", "metrics/threshold", "metrics/report"),
    }

"""Real experiments of a small project, combined by the real ``evaluation.ensemble``."""

import json
from pathlib import Path

import polars as pl
import pytest
from ruamel.yaml import YAML

from evaluation.ensemble.from_experiments import ensemble, main
from experiments.dvc_project import ProjectError
from tests.flows import runs
from tests.toy import ROOT, Toy

FOLD = runs.ROWS // 2


@pytest.fixture
def with_stages(experimented: Toy) -> Toy:
    (experimented.folder / "stages").symlink_to(ROOT / "stages")
    params = YAML(typ="safe").load(ROOT / "params.yaml")
    params["threshold"] = runs.PARAMS["threshold"]
    (experimented.folder / "params.yaml").write_text(json.dumps(params))
    return experimented


def test_the_good_one_counts(with_stages: Toy, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["HEAD", "noise"])
    assert ended.value.code == 0
    weights = json.loads(Path("ensemble/weights.json").read_text())
    assert weights == pytest.approx({"HEAD": 1, "noise": 0}, abs=0.01)
    figures = json.loads(Path("ensemble/metrics.json").read_text())
    assert figures["ensemble"]["test"]["micro_f1"]["value"] > 0.95
    assert figures["members"]["noise"]["test"]["micro_f1"]["value"] < 0.7
    printed = capfd.readouterr().out
    assert "Written to ensemble/" in printed
    assert with_stages.git("status", "--porcelain", "--", "data", "metrics") == ""


def test_folds_are_one_member(with_stages: Toy, tmp_path: Path) -> None:
    assert ensemble(Path.cwd(), ["good-fold=1", "HEAD"], tmp_path / "out") == 0
    said = pl.read_parquet(tmp_path / "out/validation.parquet")
    assert sorted(said["id"]) == sorted(f"{i}.jpg" for i in range(runs.ROWS))
    figures = json.loads((tmp_path / "out/metrics.json").read_text())
    (member,) = figures["members"].values()
    assert (member["networks"], figures["rows"]) == (2, runs.ROWS)


def test_members_of_different_rows(with_stages: Toy, capfd: pytest.CaptureFixture[str]) -> None:
    assert ensemble(Path.cwd(), ["HEAD", "good-fold=1", "noise"]) == 1
    error = capfd.readouterr().err
    assert error.startswith("ensemble: {HEAD,good-fold=1} and noise do not have the same rows")
    assert f"{FOLD} only in {{HEAD,good-fold=1}} (first: 1.jpg)" in error
    assert not Path("ensemble").exists()


def test_a_wrong_value_is_said_first(with_stages: Toy) -> None:
    path = with_stages.folder / "params.yaml"
    path.write_text(path.read_text().replace('"bootstrap": 100,', '"bootstrap": 50,'))
    with pytest.raises(SystemExit, match=r"^ensemble: params.yaml: threshold\.bootstrap should be"):
        main(["nowhere"])


def test_what_has_no_result_is_no_member(experimented: Toy) -> None:
    with pytest.raises(ProjectError, match="broken cannot be a member: train: there is no"):
        ensemble(Path.cwd(), ["HEAD", "broken"])
    with pytest.raises(SystemExit, match="ensemble: nowhere cannot be a member: there is no exp"):
        main(["nowhere"])

"""The stage: the same bundle each time, checked before it is kept."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file, save_file

from stages import UserError, metrics
from stages.bundle import __main__ as stage
from stages.bundle import half_precision, parity
from stages.bundle.bundle import ONNX
from stages.bundle.model import load_model
from stages.bundle.provenance import provenance
from stages.ingest import records
from stages.ingest.images import ImageStore
from stages.predict.__main__ import PREDICTIONS
from stages.predict.__main__ import main as predict
from stages.threshold.decision import Decision
from tests.conftest import SMALL, write_params


@pytest.fixture
def project(bundle: Path, in_tmp: Path) -> Path:
    """The current folder, with all that comes before the stage and the bundle made from it."""
    shutil.copytree(bundle.parents[1], in_tmp, dirs_exist_ok=True)
    return in_tmp


def git(*arguments: str) -> None:
    identity = ("-c", "user.name=Test", "-c", "user.email=test@example.org")
    subprocess.run(["git", *identity, *arguments], check=True, capture_output=True)


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_it_says_whether_the_commit_has_all_that_it_was_made_from(project: Path):
    trained = json.loads(Path("metrics/train.json").read_text())

    def changed() -> bool | None:
        return provenance(records.read(), trained)["changed_since_commit"]

    assert changed() is None
    git("init", "--quiet")
    git("add", "--all")
    git("commit", "--quiet", "--message", "All")
    Path("metrics/train.json").write_text("{}")  # what the pipeline writes is no change
    Path("notes.txt").touch()
    assert changed() is False
    Path("data/corrections/new.csv").write_text("id,labels\n")
    assert changed() is True
    Path("data/corrections/new.csv").unlink()
    Path("params.yaml").write_text(Path("params.yaml").read_text() + "# changed")
    assert changed() is True


def test_the_same_comes_out_again(project: Path, bundle: Path):
    stage.main()
    assert bytes_of(project / "models/bundle") == bytes_of(bundle)


def test_in_single_precision_it_says_what_predict_says(project: Path):
    write_params(SMALL | {"bundle.precision": "float32"})
    stage.main()
    assert not Path("models/bundle", ONNX).exists()
    predict()
    test = records.read().filter(pl.col("subset") == "test")
    model, table = load_model(), pl.read_parquet(PREDICTIONS)
    probabilities = model.ask(test, ImageStore(), 64, "test")
    assert np.abs(probabilities - table["probabilities"].to_numpy()).max() < 1e-6
    labels = records.label_lists(model.decide(probabilities), model.bundle.labels)
    assert labels.to_list() == table["predicted"].to_list()
    measured = json.loads(Path("metrics/bundle.json").read_text("utf-8"))
    assert measured["weights"]["precision"] == "float32"
    assert measured["weights"]["changed_decisions"] == 0
    assert measured["onnx"] is None


def test_a_graph_that_says_something_else_is_not_kept(
    project: Path, monkeypatch: pytest.MonkeyPatch
):
    before = bytes_of(Path("models/bundle"))
    monkeypatch.setattr("stages.bundle.keep.ONNX_TOLERANCE", 0.0)
    with pytest.raises(UserError, match=r"ONNX Runtime gives probabilities that differ by .*more"):
        stage.main()
    assert bytes_of(Path("models/bundle")) == before


def test_half_precision_is_kept_where_it_changes_next_to_nothing():
    same = {"micro_f1": 0.8, "macro_f1": 0.7}
    compared = {"before": same, "after": same, "changed_decisions": 0.001}
    assert parity.holds(compared, 0.001)
    assert not parity.holds(compared | {"changed_decisions": 0.0011}, 0.001)
    for change in (-0.01, 0.01):
        after = same | {"macro_f1": 0.7 + change}
        assert not parity.holds(compared | {"after": after}, 0.001)


def test_half_precision_is_judged_by_what_is_known():
    random = np.random.default_rng(0)
    truth, known = random.random((2, 50, 3)) < [[[0.4]], [[0.6]]]
    probabilities = random.random((50, 3)).astype(np.float32)
    decision = Decision(["a", "b", "c"], [0.5] * 3, "global", "micro_f1", 0.0)
    turned = np.where(known, probabilities, 1 - probabilities)
    expected = parity.Answers(pl.DataFrame(), truth & known, probabilities, known)
    compared = parity.compare(decision, expected, turned)
    assert compared["before"] == compared["after"]
    assert compared["before"]["micro_f1"] == metrics.micro_f1(truth, probabilities >= 0.5, known)
    assert compared["changed_decisions"] > 0


def test_numbers_too_large_for_half_precision_stay_single(tmp_path: Path):
    kept = {
        "large": torch.tensor([1.0, 65520.0]),
        "small": torch.tensor([1.0, 65504.0, 1e-9]),
        "count": torch.tensor(100_000),
    }
    save_file(kept, tmp_path / "whole")
    half_precision.write(tmp_path / "whole", tmp_path / "half", "float16")
    half = load_file(tmp_path / "half")
    assert {name: tensor.dtype for name, tensor in half.items()} == {
        "large": torch.float32, "small": torch.float16, "count": torch.int64,
    }  # fmt: skip
    assert half["large"].tolist() == kept["large"].tolist()
    half_precision.write(tmp_path / "whole", tmp_path / "single", "float32")
    assert all(torch.equal(load_file(tmp_path / "single")[name], kept[name]) for name in kept)

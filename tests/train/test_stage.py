"""The stage as it runs: what it writes, how it goes on after a kill, what it refuses."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file
from sklearn.metrics import log_loss
from torch import nn

import stages.network
from stages import UserError, metrics
from stages.files import cache_folder, write_json
from stages.ingest import records
from stages.ingest.form import Depth, Form
from stages.ingest.images import DEPTH, FIT, IMAGES, ImageStore
from stages.network.batches import Rows
from stages.network.network import NETWORK, load_network, rows_for
from stages.network.probabilities import read_probabilities
from stages.params import read
from stages.split import folds
from stages.train.__main__ import main
from stages.train.checkpoint import Checkpoint
from stages.train.loop import predict
from stages.train.params import Train
from stages.train.run_metrics import little_known
from stages.vocab.vocabulary import Vocabulary
from tests import forked_python

WEIGHTS = Path("models/network/network.safetensors")


def written() -> dict:
    """The content of ``metrics/train.json``."""
    return json.loads(Path("metrics/train.json").read_text())


def written_f1() -> float:
    """Micro-F1, at 0.5, of the probabilities on disk."""
    table = read_probabilities()
    truth = records.label_matrix(table["labels"], records.read_label_names())
    return metrics.micro_f1(truth, table["probabilities"].to_numpy() >= 0.5)


def validation_rows(description, words) -> Rows:
    rows = folds.rows_of(records.read(), folds.read(), "validation")
    return rows_for(description, rows, ImageStore(), words, None)


def test_what_it_writes_belongs_together(prepared: Path):
    main()
    network, description, words = load_network()
    assert description.labels == records.read_label_names()
    table = read_probabilities()
    expected = folds.rows_of(records.read(), folds.read(), "validation")
    assert table["id"].to_list() == expected["id"].to_list()
    assert table["labels"].to_list() == expected["labels"].to_list()
    # The network on disk gives the probabilities on disk.
    again = predict(network, description, validation_rows(description, words), 32, "fp32")
    assert np.allclose(table["probabilities"].to_numpy(), again, atol=1e-6)
    assert sorted(file.name for file in NETWORK.iterdir()) == ["network.json", WEIGHTS.name]
    figures = written()
    f1 = written_f1()
    assert figures["validation"]["micro_f1"] == pytest.approx(f1, abs=1e-6)
    assert figures["epochs"] == 3
    assert figures["parameters"] == sum(p.numel() for p in network.parameters())
    assert figures["mb"] == pytest.approx(WEIGHTS.stat().st_size / 2**20, rel=0.02)
    assert figures["f1_per_mb"] == pytest.approx(f1 / figures["mb"], rel=1e-3)
    assert 100 < figures["peak_memory_mb"] < 100_000  # of a process with torch in it
    curve = Path("metrics/train/plots/metrics/validation/micro_f1.tsv").read_text()
    assert len(curve.splitlines()) == 1 + 3


def test_a_vocabulary_that_knows_little_of_validation_is_said(capsys):
    words = Vocabulary(["dog"], "none", True, 4)
    assert little_known(words, pl.Series(["a dog", "dog, 犬"])) == {}
    assert little_known(words, pl.Series([None, "the"], dtype=pl.String)) == {}
    assert little_known(None, pl.Series(["cat"])) == {}
    assert capsys.readouterr().out == ""
    assert little_known(words, pl.Series(["一个女人骑马", "一只狗", "dog"])) == {
        "words_known": 1 / 3
    }
    assert "knows 33.3%" in capsys.readouterr().out


def test_the_best_epoch_is_the_one_saved(prepared: Path, params):
    params({"train.epochs": 5, "train.lr": 0.3, "train.schedule.name": "none"})
    main()
    curve = pl.read_csv("metrics/train/plots/metrics/validation/micro_f1.tsv", separator="\t")
    scores = curve["micro_f1"].to_list()
    assert written()["best_epoch"] == int(np.argmax(scores)) + 1
    assert scores[-1] < max(scores)  # else this test would not tell the best from the last
    assert written_f1() == pytest.approx(max(scores), abs=1e-6)


@pytest.mark.parametrize("inputs", ["image", "caption"])
def test_one_input_alone(prepared: Path, params, inputs: str):
    params({"train.inputs": inputs, "train.epochs": 1})
    main()
    network, *_ = load_network()
    assert (network.backbone is None) == (inputs == "caption")
    assert (network.captions is None) == (inputs == "image")


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_comes_near_single(prepared: Path, params, precision: str):
    params({"train.epochs": 1})
    main()
    single = written()["validation"]["loss"]
    params({"train.epochs": 1, "train.precision": precision})
    main()
    assert written()["hardware"].endswith(precision)
    assert written()["validation"]["loss"] == pytest.approx(single, rel=0.1)
    assert written()["validation"]["loss"] != single


def test_every_switch_of_the_recipe_runs(prepared: Path, params):
    params(
        {
            "train.backbone": "squeezenet1_1",
            "train.freeze": True,
            "train.text.encoder": "lstm",
            "train.text.bidirectional": False,
            "train.loss.name": "focal",
            "train.optimizer": "sgd",
            "train.schedule.name": "plateau",
            "train.metric": "mean_average_precision",
            "train.augment.crop": 24,
            "train.augment.rotation": 10,
            "train.augment.horizontal_flip": 0.5,
            "train.epochs": 1,
        }
    )
    main()
    _, description, _ = load_network()
    assert (description.backbone, description.crop) == ("squeezenet1_1", 24)


def test_without_an_epoch_it_still_writes_all(prepared: Path, params):
    params({"train.epochs": 0})
    main()
    assert written()["validation"]["micro_f1"] == pytest.approx(written_f1(), abs=1e-6)
    assert (written()["epochs"], written()["loss"], written()["f1_per_hour"]) == (0, None, None)
    assert WEIGHTS.exists()
    curve = Path("metrics/train/plots/metrics/validation/micro_f1.tsv").read_text()
    assert len(curve.splitlines()) == 1 + 1


def test_early_stopping(prepared: Path, params):
    # At this rate nothing changes, so no epoch is better than the first.
    params({"train.inputs": "caption", "train.epochs": 9, "train.lr": 1e-12,
            "train.early_stopping": 2})  # fmt: skip
    main()
    assert (written()["best_epoch"], written()["epochs"]) == (1, 3)


def test_killed_at_any_moment_it_ends_with_the_same_weights(prepared: Path, params):
    params({"train.epochs": 5, "train.early_stopping": 4, "train.dropout": 0.3})
    main()
    expected, figures = WEIGHTS.read_bytes(), written()
    curve = Path("metrics/train/plots/metrics/train/loss.tsv").read_text()
    assert not _checkpoints()

    for _ in range(2):
        before = _checkpoints()
        stage = subprocess.Popen([sys.executable, "-m", "stages.train"], env=_environment())
        _wait_for(lambda old=before: _checkpoints() != old, stage)
        stage.send_signal(signal.SIGKILL)
        stage.wait()
    (checkpoint,) = _checkpoints()
    done = len(torch.load(checkpoint, weights_only=True)["history"])
    assert 2 <= done < 5
    last = subprocess.run(
        [forked_python.executable(), "-m", "stages.train"], env=_environment(), check=True,
        text=True, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert f"going on after epoch {done} of 5" in last.stdout
    assert WEIGHTS.read_bytes() == expected
    assert written()["validation"] == figures["validation"]
    assert written()["best_epoch"] == figures["best_epoch"]
    losses = [line.split("\t")[1:] for line in curve.splitlines()]
    again = Path("metrics/train/plots/metrics/train/loss.tsv").read_text()
    assert [line.split("\t")[1:] for line in again.splitlines()] == losses
    assert not _checkpoints()


@pytest.mark.gpu
def test_ended_on_a_gpu_it_goes_on_to_the_same_weights(prepared: Path, params):
    """But for what GPUs round differently from run to run."""
    params(
        {"train.epochs": 6, "train.optimizer": "sgd", "train.lr": 0.01, "train.precision": "fp32"}
    )
    main()
    expected, figures = load_file(WEIGHTS), written()
    for end in (signal.SIGTERM, signal.SIGKILL):
        before = _checkpoints()
        stage = subprocess.Popen([sys.executable, "-m", "stages.train"], env=_environment())
        _wait_for(lambda old=before: _checkpoints() != old, stage)
        stage.send_signal(end)
        assert stage.wait(timeout=10) == -end
    last = subprocess.run(
        [sys.executable, "-m", "stages.train"], env=_environment(), check=True, text=True,
        stdout=subprocess.PIPE,
    )  # fmt: skip
    assert "going on after epoch" in last.stdout
    weights = load_file(WEIGHTS)
    assert all(torch.allclose(weights[name], expected[name], atol=1e-3) for name in expected)
    assert written()["validation"]["loss"] == pytest.approx(figures["validation"]["loss"], abs=0.01)


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}


def _checkpoints() -> dict[Path, int]:
    """Each checkpoint there is, and when it was written."""
    times = {}
    for file in cache_folder("checkpoints").glob("*.pt"):
        with suppress(FileNotFoundError):
            times[file] = file.stat().st_mtime_ns
    return times


def _wait_for(condition, stage: subprocess.Popen) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline
        assert stage.poll() is None, "it was done before it could be killed"
        time.sleep(0.001)


def checkpoint(start: nn.Module, precision: str = "fp32", depth: Depth = "type") -> Checkpoint:
    return Checkpoint(read(Train), start, Form(32, depth), precision)


def test_what_starts_otherwise_does_not_go_on_from_the_checkpoint(prepared: Path, params):
    start = nn.Linear(2, 2)
    first = checkpoint(start).path
    params({"train.lr": 0.001})
    assert checkpoint(start).path != first
    params()
    assert checkpoint(start, "bf16").path != first
    assert checkpoint(start, depth="photo").path != first  # the records are the same
    assert checkpoint(nn.Linear(2, 2)).path != first  # other weights, or word vectors
    params({"train.max_hours": 1, "train.max_mb": 5, "train.devices": 2})
    assert checkpoint(start).path == first
    records.write(records.read().head(9), records.read_label_names())
    params()
    assert checkpoint(start).path != first


def test_what_the_networks_code_changes_does_not_go_on_from_the_checkpoint(
    prepared: Path, monkeypatch
):
    start, code = nn.Linear(2, 2), Path(stages.network.__file__).parent
    first = checkpoint(start).path
    changed = shutil.copytree(code, prepared / "network")
    monkeypatch.setattr(stages.network, "__file__", str(changed / "__init__.py"))
    assert checkpoint(start).path == first
    with (changed / "nets" / "fusion.py").open("a") as file:
        file.write("# changed\n")
    assert checkpoint(start).path != first


def test_a_spoilt_checkpoint_is_said_and_passed_over(prepared: Path, capsys):
    spoilt = checkpoint(nn.Linear(2, 2))
    spoilt.path.parent.mkdir(parents=True)
    spoilt.path.write_bytes(b"spoilt")
    assert spoilt.load() is None
    assert "cannot be read" in capsys.readouterr().out


def test_a_budget_of_size_stops_it_before_it_starts(prepared: Path, params):
    params({"train.max_mb": 0.01})
    with pytest.raises(UserError, match=r"more than train.max_mb = 0.01"):
        main()
    assert not NETWORK.exists()


def test_a_budget_of_time_stops_it_and_raising_it_goes_on(
    prepared: Path, params, capsys, monkeypatch
):
    main()
    expected = WEIGHTS.read_bytes()
    params({"train.max_hours": 1})
    with monkeypatch.context() as patch:
        clock = itertools.count(step=600)  # each look at it is ten minutes later
        patch.setattr("stages.train.loop.time.perf_counter", lambda: next(clock))
        with pytest.raises(UserError, match="is over in epoch 2 of 3"):
            main()
    params()
    main()
    assert "going on after epoch 1 of 3" in capsys.readouterr().out
    assert WEIGHTS.read_bytes() == expected


def test_the_network_says_how_the_deep_pixels_it_has_seen_were_scaled(prepared: Path, params):
    params({"train.epochs": 0})
    main()
    assert load_network()[1].form == Form(32)
    write_json(IMAGES / DEPTH, [0, 4095])
    main()
    assert load_network()[1].form == Form(32, (0, 4095))
    write_json(IMAGES / FIT, "crop")
    main()
    assert load_network()[1].form == Form(32, (0, 4095), "crop")


def test_a_lone_last_row_is_left_out(prepared: Path, params):
    params({"train.batch_size": 127, "train.epochs": 1})  # of 128 rows
    main()
    assert written()["epochs"] == 1


def test_captions_are_learnt_where_there_are_any(prepared: Path, params, capsys):
    params({"train.inputs": "auto", "train.epochs": 0})
    main()
    assert load_network()[1].inputs == "image+caption"
    silent = records.read().with_columns(caption=pl.lit(None, pl.String))
    records.write(silent, records.read_label_names())
    main()
    assert load_network()[1].inputs == "image"
    assert "image (train.inputs: auto)" in capsys.readouterr().out


@pytest.mark.gpu
def test_on_a_gpu_automatic_precision_is_half(prepared: Path):
    main()
    assert written()["hardware"].endswith(("bf16", "fp16"))


def test_what_cannot_be_is_refused_in_a_sentence(prepared: Path, params):
    params({"train.augment.crop": 64})
    with pytest.raises(UserError, match=r"photos are stored with ingest\.image_size = 32"):
        main()
    params({"train.lr": 1e30, "train.optimizer": "sgd", "train.schedule.name": "none"})
    with pytest.raises(UserError, match=r"lower train\.lr"):
        main()
    params()
    silent = records.read().with_columns(caption=pl.lit(None, pl.String))
    records.write(silent, records.read_label_names())
    with pytest.raises(UserError, match="no training photo has a caption"):
        main()


def test_a_repository_without_a_commit_is_said_in_a_sentence(prepared: Path):
    from dvc.repo import Repo

    subprocess.run(["git", "init", "--quiet"], check=True)
    Repo.init().close()
    with pytest.raises(UserError, match="Empty git repo; make a first one with git commit"):
        main()
    assert not WEIGHTS.exists()


def test_it_runs_without_dvc_dvclive_and_prefect(prepared: Path, params):
    params({"train.epochs": 1})
    blocked = """
import importlib.util, runpy, sys
find = importlib.util.find_spec
class Blocker:
    def find_spec(self, name, *rest):
        if name.split(".")[0] in {"dvc", "dvclive", "prefect"}:
            raise ModuleNotFoundError(name)
importlib.util.find_spec = lambda name, *r: None if name == "dvclive" else find(name, *r)
sys.meta_path.insert(0, Blocker())
runpy.run_module("stages.train", run_name="__main__")
"""
    done = subprocess.run(
        [sys.executable, "-c", blocked], env=_environment(), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "DVCLive is not installed" in done.stdout
    assert WEIGHTS.exists()


def test_unknown_labels_reach_the_loss_and_the_probabilities(prepared: Path, params):
    everything, names = records.read(), records.read_label_names()
    ids = folds.rows_of(everything, folds.read(), "validation")["id"]
    hidden = pl.col("id").is_in(ids.implode())
    others = pl.col("labels").list.eval(pl.element().filter(pl.element() != names[2]))
    hidden_label = pl.lit([names[2]], pl.List(pl.String))
    changes = {
        "labels": pl.when(hidden).then(others).otherwise("labels"),
        "unknown": pl.when(hidden).then(hidden_label),
    }
    records.write(everything.with_columns(**changes), names)
    main()
    table = read_probabilities()
    truth = records.label_matrix(table["labels"], names)
    known = records.known_matrix(table["unknown"], names)
    assert known is not None
    assert known.all(axis=0).tolist() == [name != names[2] for name in names]
    probabilities = table["probabilities"].to_numpy()
    loss = log_loss(truth[known], probabilities[known])
    assert loss != pytest.approx(log_loss(truth.ravel(), probabilities.ravel()), rel=1e-3)
    assert written()["validation"]["loss"] == pytest.approx(loss, rel=1e-4)

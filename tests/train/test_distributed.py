"""Several devices do what one does; a process that ends takes the run with it, cleanly."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from safetensors.torch import load_file

from stages import UserError
from stages.network.probabilities import read_probabilities
from stages.train import distributed
from stages.train.__main__ import main
from stages.train.distributed import ALONE, Group
from tests import forked_python
from tests.conftest import ROOT
from tests.train.devices import PHOTOS, RUNS, SIDE, Memory, train
from tests.train.test_stage import _checkpoints, _wait_for, written

CPU = torch.device("cpu")
WEIGHTS = Path("models/network/network.safetensors")
TIMED = {"train/photos_per_second"}
# It jumps where two neighbours of a ranking change places, for which the error of floats is enough.
# Of 19 photos and three labels one such change, at the top of a label with seven, is 1/2 / 7 / 3.
RANKED, JUMP = "validation/mean_average_precision", 0.024


def environment(gpus: bool = False) -> dict[str, str]:
    seen = {} if gpus else {"CUDA_VISIBLE_DEVICES": ""}
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | seen


@contextmanager
def stage(python: str = sys.executable, gpus: bool = False) -> Iterator[subprocess.Popen]:
    """The stage, started in the current folder; on the CPU but for ``gpus``."""
    process = subprocess.Popen(
        [python, "-m", "stages.train"],
        env=environment(gpus), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("size", [1, 2, 3, 8])
@pytest.mark.parametrize("rows", [1, 2, 7, 32])
def test_the_shards_are_the_batch_and_weigh_as_much(rows: int, size: int):
    values = np.random.default_rng(0).random(rows)
    shards = [Group(CPU, rank, size).shard(rows) for rank in range(size)]
    together = np.concatenate([values[each.rows] for each in shards if each.weight])
    assert together.tolist() == values.tolist()
    assert all(each.whole == rows for each in shards)
    assert all(len(values[each.rows]) > 0 for each in shards)
    means = [each.weight * values[each.rows].mean() for each in shards]
    assert np.mean(means) == pytest.approx(values.mean())


def test_what_cannot_be_shared_is_refused(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(UserError, match="but the launcher started 4 processes on this machine"):
        distributed.check(2, 32, size=8, here=4, gpus=0)
    with pytest.raises(UserError, match="2 processes were started, but there are 1 GPUs"):
        distributed.check("auto", 32, size=2, here=2, gpus=1)
    with pytest.raises(UserError, match="= 3 cannot be shared by 4 devices"):
        distributed.check("auto", 3, size=4, here=2, gpus=0)
    distributed.check(4, 32, size=8, here=4, gpus=4)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UserError, match=r"train\.devices is 3, but there are 2 GPUs"):
        distributed.count(3)
    assert (distributed.count("auto"), distributed.count(1)) == (2, 1)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert (distributed.count("auto"), distributed.count(3)) == (1, 3)


def alone_and_in_two_processes(folder: Path, sole: Group) -> dict[str, Any]:
    """What came of each run alone; ``folder`` has what came of it in two processes."""
    pixels = np.random.default_rng(0).integers(0, 256, (PHOTOS, SIDE, SIDE, 3), np.uint8)
    np.save(folder / "00000.npy", pixels)
    memories = {name: Memory() for name in RUNS}
    alone = {name: train(folder, RUNS[name], sole, memories[name]) for name in RUNS}
    alone["from a checkpoint"] = alone["batch norm"]
    torch.save(memories["batch norm"].states[0], folder / "state.pt")
    on_gpu = sole.device.type == "cuda"
    # As people start it on several machines.
    subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
         "--log-dir", str(folder), "-m", "tests.train.devices", str(folder),
         *["one-gpu"] * on_gpu],
        cwd=ROOT, check=True,
        env=environment(on_gpu) | {"PYTHON_EXEC": forked_python.executable()},
    )  # fmt: skip
    return alone


def of_both(folder: Path, name: str) -> list[dict[str, Any]]:
    return [torch.load(folder / f"{name} {rank}.pt", weights_only=True) for rank in range(2)]


def test_two_devices_do_what_one_does(tmp_path: Path):
    for name, one in alone_and_in_two_processes(tmp_path, ALONE).items():
        first, second = of_both(tmp_path, name)
        assert (first["saved"] > 1, second["saved"]) == (True, 0), name
        assert first["best"] == second["best"] == one["best"], name
        assert len(first["history"]) == len(second["history"]) == len(one["history"]), name
        for epochs in zip(first["history"], second["history"], one["history"], strict=True):
            ours, other, expected = ({k: e[k] for k in e.keys() - TIMED} for e in epochs)
            assert ours == other, name
            assert ours.pop(RANKED) == pytest.approx(expected.pop(RANKED), abs=JUMP), name
            assert ours == pytest.approx(expected, abs=1e-3), name
        for key, expected in one["weights"].items():
            assert torch.equal(first["weights"][key], second["weights"][key]), (name, key)
            assert torch.allclose(first["weights"][key], expected, atol=1e-4), (name, key)
        assert torch.allclose(first["probabilities"], one["probabilities"], atol=1e-3), name
        assert torch.equal(first["probabilities"], second["probabilities"]), name

    first, second = of_both(tmp_path, "in stretches")
    assert sorted(first["read"] + second["read"]) == list(range(PHOTOS))  # each its own, no more


@pytest.mark.gpu
def test_two_processes_on_one_gpu_do_what_one_does(tmp_path: Path):
    """GPUs sum in any order and round more; what hangs on thresholds is left out."""
    alone = alone_and_in_two_processes(tmp_path, Group(torch.device("cuda", 0)))
    for name in RUNS:
        first, second = of_both(tmp_path, name)
        for key, weights in first["weights"].items():
            assert torch.equal(weights, second["weights"][key]), (name, key)
    for name in ("batch norm", "mixed, in pieces", "from a checkpoint"):
        first, _ = of_both(tmp_path, name)
        for key, expected in alone[name]["weights"].items():
            assert torch.allclose(first["weights"][key], expected, atol=1e-3), (name, key)
        assert torch.allclose(first["probabilities"], alone[name]["probabilities"], atol=1e-2), name


CALM = {
    "train.epochs": 6, "train.optimizer": "sgd", "train.lr": 0.01, "train.dropout": 0,
    "train.text.dropout": 0, "train.text.caption_dropout": 0, "train.batch_size": 50,
}  # fmt: skip


def test_a_killed_process_ends_the_run_and_the_next_goes_on(
    prepared: Path, params, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    params(CALM)
    main()
    expected, figures, table = load_file(WEIGHTS), written(), read_probabilities()
    (prepared / "models/network/network.json").unlink()

    params(CALM | {"train.devices": 2})
    with stage() as run:
        _wait_for(_checkpoints, run)
        members = psutil.Process(run.pid).children(recursive=True)
        rank_1 = next(p for p in members if p.environ().get("RANK") == "1")
        rank_1.send_signal(signal.SIGKILL)
        _, errors = run.communicate(timeout=300)
    assert run.returncode == 1
    (sentence,) = [line for line in errors.splitlines() if not line.startswith("epoch")]
    assert "train: the process of device 1 was ended by SIGKILL" in sentence
    assert not [p for p in members if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
    assert not (prepared / "models/network/network.json").exists()
    assert len(_checkpoints()) == 1

    with stage(forked_python.executable()) as run:
        output, errors = run.communicate(timeout=300)
    assert run.returncode == 0, errors
    assert output.count("going on after epoch") == 1
    assert not _checkpoints()
    assert written()["devices"] == 2
    assert written()["hardware"].startswith("2 × CPU")
    assert written()["validation"] == pytest.approx(figures["validation"], abs=1e-3)
    weights = load_file(WEIGHTS)
    assert all(torch.allclose(weights[name], expected[name], atol=1e-4) for name in expected)
    assert read_probabilities()["id"].to_list() == table["id"].to_list()
    curve = Path("metrics/train/plots/metrics/train/loss.tsv").read_text()
    assert len(curve.splitlines()) == 1 + 6


def test_an_error_of_several_processes_is_one_sentence(prepared: Path, params):
    params({"train.devices": 2, "train.max_hours": 1e-9})
    with stage(forked_python.executable()) as run:
        _, errors = run.communicate(timeout=300)
    assert run.returncode == 1
    assert errors.count("train: train.max_hours = 1e-09 is over in epoch 1 of 3") == 1
    assert len(errors.splitlines()) == 1
    assert not WEIGHTS.exists()


@pytest.mark.gpu
def test_two_gpus_do_what_one_does(prepared: Path, params):
    if torch.cuda.device_count() < 2:
        pytest.skip("one GPU")
    params(CALM | {"train.precision": "fp32"})
    main()
    figures = written()
    params(CALM | {"train.precision": "fp32", "train.devices": 2})
    with stage(gpus=True) as run:
        _, errors = run.communicate(timeout=300)
    assert run.returncode == 0, errors
    assert written()["devices"] == 2
    assert written()["hardware"].startswith("2 × ")
    assert written()["validation"] == pytest.approx(figures["validation"], abs=0.01)

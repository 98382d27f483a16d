"""Training over the nodes of a cluster does what one machine does, whichever nodes are left."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file

from benchmarks.nodes import nodes
from stages import UserError
from stages.train.__main__ import main
from tests.train.test_distributed import CALM, WEIGHTS, stage
from tests.train.test_stage import _checkpoints, _wait_for, written

OVER_NODES = CALM | {"train.devices": "cluster", "train.shuffle": 0, "train.precision": "fp32"}


@pytest.fixture
def two_nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with nodes() as started:
        monkeypatch.setenv("RAY_ADDRESS", started.address)
        yield started


@pytest.mark.parametrize("freeze", [False, True])
def test_a_cluster_that_nothing_names(
    prepared: Path, params, monkeypatch: pytest.MonkeyPatch, freeze: bool
):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    still = {"train.freeze": freeze, "train.augment.shift": 0}
    params({"train.devices": "cluster"} | still)
    with pytest.raises(UserError, match="RAY_ADDRESS"):
        main()


def test_a_node_that_is_lost(
    prepared: Path, params, two_nodes: Any, monkeypatch: pytest.MonkeyPatch
):
    params(OVER_NODES)
    with stage() as run:
        _wait_for(_checkpoints, run)
        (lost,) = two_nodes.worker_nodes
        _lose(lost)
        two_nodes.remove_node(lost, allow_graceful=False)
        output, errors = run.communicate(timeout=300)
    assert run.returncode == 0, output + errors
    assert "a node of the cluster is gone; going on with 1" in output
    assert output.count("going on after epoch") == 1
    figures, weights = written(), load_file(WEIGHTS)
    assert figures["devices"] == 1
    assert not _checkpoints()

    monkeypatch.delenv("RAY_ADDRESS")
    params(OVER_NODES | {"train.devices": "auto"})
    main()
    assert written()["validation"] == pytest.approx(figures["validation"], abs=1e-3)
    for name, expected in load_file(WEIGHTS).items():
        assert torch.allclose(weights[name], expected, atol=1e-4), name


def _lose(node: Any) -> None:
    """Ends all that runs on a node of this machine at once, as where the node loses its power.

    Left to find out for themselves, the processes that train have seconds to come to their end.
    """
    (raylet,) = node.all_processes["raylet"]
    parent = psutil.Process(raylet.process.pid)
    for process in (parent, *parent.children(recursive=True)):
        process.kill()


def test_an_error_on_a_node_is_said_once(prepared: Path, params, two_nodes: Any):
    params(OVER_NODES | {"train.max_hours": 1e-9})
    with stage() as run:
        output, _ = run.communicate(timeout=300)
    assert run.returncode == 1
    assert output.count("train: train.max_hours = 1e-09 is over in epoch 1 of 6") == 1
    assert not WEIGHTS.exists()

"""Work on the nodes of a cluster: in order, whatever is lost; and stages there are stages here."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from benchmarks.nodes import nodes
from stages import UserError, cluster
from stages.bundle.model import BATCHES, load_model
from stages.ingest import records
from stages.ingest.decode_cache import EMPTY
from stages.ingest.form import Form
from stages.ingest.images import ImageStore, Known, UnreadablePhoto
from stages.ingest.photos import Files, open_all
from stages.ingest.tables.photos import PhotoInCell
from tagloom.__main__ import app
from tests.conftest import ROOT
from tests.ingest.conftest import photo_of


def squared(common: int, piece: int) -> int:
    return common + piece * piece


def refused(common: None, piece: int) -> int:
    raise UserError(f"piece {piece} is none")


def killing_once(folder: Path, piece: int) -> int:
    """Kills its worker the first time that piece 3 is done."""
    if piece == 3 and not (folder / "killed").exists():
        (folder / "killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return piece


def disowned(common: None, piece: int) -> int:
    import ray

    raise ray.exceptions.RayError("its owner is gone")


def killing(common: None, piece: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return piece


def slow(folder: Path, piece: int) -> int:
    (folder / str(piece)).touch()
    time.sleep(0.3)
    return piece


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[Any]:
    """Two nodes of one core; this process is connected to them."""
    handler = signal.getsignal(signal.SIGTERM)  # Ray sets one of its own
    with nodes() as started, pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ADDRESS", started.address)
        patch.chdir(ROOT)  # where workers look for modules is where they were connected from
        assert list(cluster.spread(squared, 0, [0])) == [0]
        yield started
    signal.signal(signal.SIGTERM, handler)


def test_an_engine_that_is_none(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TAGLOOM_ENGINE", "spark")
    with pytest.raises(UserError, match="TAGLOOM_ENGINE is spark"):
        cluster.is_asked_for()
    monkeypatch.setenv("TAGLOOM_ENGINE", "")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert not cluster.is_asked_for()


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere.invalid:6379"])
def test_a_cluster_that_does_not_answer(address: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(UserError, match=f"no Ray cluster answers at {address}"):
        next(cluster.spread(squared, 0, [1]))


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"tagloom\[ray\]"):
        next(cluster.spread(squared, 0, [1]))


def test_results_come_in_order(two_nodes: Any):
    assert list(cluster.spread(squared, 1, range(20))) == [1 + n * n for n in range(20)]


def test_pieces_are_taken_as_there_is_room_for_them(two_nodes: Any):
    taken = []

    def pieces() -> Iterator[int]:
        for piece in range(100):
            taken.append(piece)
            yield piece

    results = cluster.spread(squared, 0, pieces())
    assert next(results) == 0
    assert len(taken) == 2 * cluster.AHEAD
    results.close()


def test_what_is_the_users_fault_is_said_as_on_one_machine(two_nodes: Any):
    with pytest.raises(UserError, match="piece 0 is none"):
        list(cluster.spread(refused, None, range(3)))


def test_what_ray_itself_says_of_a_piece_is_a_sentence(two_nodes: Any):
    with pytest.raises(UserError, match="the cluster lost a piece of work"):
        list(cluster.spread(disowned, None, [0]))


def test_a_node_without_the_projects_folder_says_so(
    two_nodes: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(os, "getcwd", lambda: "/nowhere")
    with pytest.raises(UserError, match="cannot enter /nowhere: No such file"):
        next(cluster.spread(squared, 1, [0]))


def test_a_worker_that_is_killed_costs_nothing(two_nodes: Any, tmp_path: Path):
    assert list(cluster.spread(killing_once, tmp_path, range(8))) == list(range(8))
    assert (tmp_path / "killed").exists()


def test_a_piece_that_is_lost_again_and_again_ends_it(two_nodes: Any):
    with pytest.raises(UserError, match="the cluster lost a piece of work"):
        list(cluster.spread(killing, None, [0]))


def test_a_node_that_is_killed_costs_nothing(two_nodes: Any, tmp_path: Path):
    node = two_nodes.add_node(num_cpus=1)
    two_nodes.wait_for_nodes()
    results = cluster.spread(slow, tmp_path, range(16))
    assert next(results) == 0
    two_nodes.remove_node(node, allow_graceful=False)
    assert list(results) == list(range(1, 16))


def test_photos_are_opened_there_as_here(
    two_nodes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    form, cells = Form(16, "type", "stretch"), tmp_path / "cells.parquet"
    pl.DataFrame({"photo": [photo_of(1), b"none"]}).write_parquet(cells)
    (tmp_path / "a.jpg").write_bytes(photo_of(2))
    (tmp_path / "broken.jpg").write_bytes(photo_of(3)[:200])
    photos = ["a.jpg", "broken.jpg", "missing.jpg", "../b.jpg", partial(photo_of, 4)]
    photos += [PhotoInCell(cells, "photo", row) for row in range(2)]

    def opened() -> list[tuple[Any, ...]]:
        files = Files(tmp_path)
        return [
            (type(each), str(each))
            if isinstance(each, UnreadablePhoto)
            else (*each._replace(image=Known(())), each.image.tobytes())
            for each in open_all(photos, files, form, EMPTY)
        ]

    there = opened()
    monkeypatch.delenv("RAY_ADDRESS")
    assert there == opened()
    assert [len(each) for each in there] == [7 + 1, 2, 2, 2, 7 + 1, 7 + 1, 2]


def test_ingest_writes_the_same_bytes(two_nodes: Any, _prepared: Path, tmp_path: Path):
    for name in ("params.yaml", "data/corrections"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        copy = shutil.copytree if (_prepared / name).is_dir() else shutil.copy
        copy(_prepared / name, tmp_path / name)
    command = [sys.executable, "-m", "stages.ingest"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TAGLOOM_CACHE": "cache"}
    subprocess.run(command, cwd=tmp_path, env=environment, check=True)
    for name in ("images/00000.npy", "records.parquet", "rejected.csv"):
        here, there = ((folder / "data" / name).read_bytes() for folder in (_prepared, tmp_path))
        assert here == there, name


def test_a_bundle_answers_the_same_bytes(
    two_nodes: Any, bundle: Path, monkeypatch: pytest.MonkeyPatch
):
    data = bundle.parents[1] / "data"
    asked, store = records.read(data / "records.parquet"), ImageStore(data / "images")
    there = load_model(bundle).ask(asked, store, 4, "predict")
    monkeypatch.delenv("RAY_ADDRESS")
    assert len(there) > 4 * BATCHES
    assert np.array_equal(there, load_model(bundle).ask(asked, store, 4, "predict"))


def test_a_gpu_here_answers_by_itself(bundle: Path, monkeypatch: pytest.MonkeyPatch):
    assert load_model(bundle).origin is not None
    monkeypatch.setattr("stages.bundle.model._has_gpu", lambda: True)
    assert load_model(bundle).origin is None


def test_features_are_the_same_bytes(
    two_nodes: Any, prepared: Path, params: Any, monkeypatch: pytest.MonkeyPatch
):
    from stages.train.__main__ import main as train

    few = {"train.batch_size": 8, "train.epochs": 1, "train.freeze": True, "train.views": 2}
    params(few | {"train.backbone": "resnet18", "train.augment.horizontal_flip": 0.5})
    computed = []
    for address in (two_nodes.address, ""):
        monkeypatch.setenv("RAY_ADDRESS", address)
        monkeypatch.setenv("TAGLOOM_CACHE", f"cache{len(computed)}")
        train()
        kept = sorted(Path(f"cache{len(computed)}").rglob("features.npy"))
        computed.append([(path.parent.name, path.read_bytes()) for path in kept])
    assert len(computed[0]) == 2
    assert computed[0] == computed[1]


def test_the_command_answers_the_same(two_nodes: Any, bundle: Path, tmp_path: Path):
    (tmp_path / "broken.jpg").write_bytes(photo_of(0)[:200])
    for number in range(1, 40):
        (tmp_path / f"{number}.jpg").write_bytes(photo_of(number))
    told = []
    for address in (two_nodes.address, ""):
        arguments = ["predict", str(tmp_path), "--bundle", str(bundle), "--batch-size", "2"]
        run = CliRunner(env={"RAY_ADDRESS": address}).invoke(app, [*arguments, "--format", "csv"])
        assert run.exit_code == 0
        assert "broken.jpg" in run.stderr
        told.append(run.stdout)
    assert told[0] == told[1]
    assert len(told[0].splitlines()) == 1 + 39

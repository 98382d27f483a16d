"""Work on the nodes of a cluster: in order, whatever is lost; and stages there are stages here."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import polars as pl
import psutil
import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from benchmarks.nodes import nodes
from stages import UserError, cluster, resumable
from stages.bundle.model import BATCHES, load_model
from stages.ingest import records
from stages.ingest.images import SHARD_ROWS, ImageStore
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


def first_is_last(folder: Path, piece: int) -> int:
    """Piece 0 takes until one is done that there is no room for before something is."""
    (folder / str(piece)).touch()
    end = time.monotonic() + 30
    while not (folder / str(piece or 2 * cluster.HELD - 5)).exists():
        assert time.monotonic() < end
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
    assert 2 * cluster.AHEAD <= len(taken) <= 2 * cluster.HELD
    results.close()


def test_a_slow_piece_does_not_hold_up_the_others(two_nodes: Any, tmp_path: Path):
    assert list(cluster.spread(first_is_last, tmp_path, range(20))) == list(range(20))


def test_a_piece_that_is_done_already_takes_no_core(two_nodes: Any):
    assert list(cluster.spread(killing, None, [cluster.Done([5]), cluster.Done([])])) == [[5], []]
    assert list(cluster.spread(squared, 1, [2, cluster.Done(6), 3])) == [5, 6, 10]


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


Project = tuple[Path, Path]  # where a cluster works on it, and where this machine does
PHOTOS = {"train": "train.csv", "test": None, "photos": "photos"}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project in two folders, whose photos are the same files, in ``raw/photos``."""
    (tmp_path / "raw/photos").mkdir(parents=True)
    folders = tmp_path / "there", tmp_path / "here"
    for folder in folders:
        (folder / "data/corrections").mkdir(parents=True)
        (folder / "raw").symlink_to(tmp_path / "raw")
    return folders


def configure(project: Project, source: str, options: dict[str, Any], **keys: Any) -> None:
    params = YAML(typ="safe").load(ROOT / "params.yaml")
    params["ingest"] |= {"source": source, "root": "raw", "image_size": 8} | keys
    params["ingest"][source] |= options
    for folder in project:
        YAML(typ="safe").dump(params, folder / "params.yaml")


def list_photos(project: Project, numbers: range) -> None:
    lines = ["ImageID,Labels", *(f"{number}.jpg,{number % 3}" for number in numbers)]
    (project[0] / "raw/train.csv").write_text("\n".join(lines) + "\n")


def start_ingest(folder: Path, address: str) -> subprocess.Popen:
    own = {"PYTHONPATH": str(ROOT), "TAGLOOM_CACHE": "cache", "RAY_ADDRESS": address}
    return subprocess.Popen(
        [sys.executable, "-m", "stages.ingest"],
        cwd=folder,
        env=os.environ | own,
        stdout=subprocess.PIPE,
        text=True,
    )


def said(process: subprocess.Popen) -> str:
    """What ingest has said in the end, without an error, and what Ray has said between."""
    text, _ = process.communicate()
    assert process.returncode == 0
    return "".join(line for line in text.splitlines(True) if line.startswith("ingest:"))


def ingest(project: Project, address: str) -> str:
    """Runs the stage on a cluster and here; what it says, writes and keeps is the same."""
    there, here = (
        said(start_ingest(folder, at)) for folder, at in zip(project, (address, ""), strict=True)
    )
    assert there == here
    assert contents(project[0]) == contents(project[1])
    return there


def contents(folder: Path) -> dict[str, bytes]:
    """What ingest has written, and what it keeps of it for the next time."""
    kept = [*(folder / "data").rglob("*"), *(folder / "cache/images").rglob("*")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in kept if path.is_file()}


@pytest.mark.parametrize("codec", ["raw", "jpeg"])
def test_ingest_there_is_ingest_here(two_nodes: Any, project: Project, codec: str):
    photos = project[0] / "raw/photos"
    for number in range(2 * SHARD_ROWS + 40):
        (photos / f"{number}.jpg").write_bytes(photo_of(number))
    (photos / "7.jpg").write_bytes(photo_of(7)[:200])
    (photos / "600.jpg").unlink()
    configure(project, "kaggle-csv", PHOTOS, store=codec)
    time.sleep(2.1)  # what changed a moment ago is read again

    # Two shards, the last of them partly filled; then it is full, and there is another.
    list_photos(project, range(SHARD_ROWS + 200))
    assert "710 photos, 710 decoded, 2 rows set aside" in ingest(project, two_nodes.address)
    list_photos(project, range(2 * SHARD_ROWS + 40))
    assert "1,062 photos, 352 decoded, 2 rows set aside" in ingest(project, two_nodes.address)

    # The first shard repeats that of before, but for a photo that has changed since.
    (photos / "1020.jpg").write_bytes(photo_of(2000))
    time.sleep(2.1)
    assert "1,062 photos, 1 decoded, 2 rows set aside" in ingest(project, two_nodes.address)
    # All rows move; then they have nothing to decode, and the first shard has nobody to ask.
    list_photos(project, range(50, 2 * SHARD_ROWS))
    assert "973 photos, 0 decoded, 1 rows set aside" in ingest(project, two_nodes.address)
    assert "973 photos, 0 decoded, 1 rows set aside" in ingest(project, two_nodes.address)
    assert (project[0] / "data/images/00000.npy").stat().st_nlink == 2


def test_photos_in_cells_are_opened_there_as_here(two_nodes: Any, project: Project):
    cells = [photo_of(number) for number in range(SHARD_ROWS + 20)]
    cells[3] = b"none"
    table = {"id": [str(number) for number in range(len(cells))], "photo": cells}
    labels = [["a"] if number % 2 else ["b"] for number in range(len(cells))]
    pl.DataFrame(table | {"labels": labels}).write_parquet(project[0] / "raw/cells.parquet")
    configure(project, "table", {"file": "cells.parquet", "image": "photo"})
    assert "531 photos, 531 decoded, 1 rows set aside" in ingest(project, two_nodes.address)
    assert "531 photos, 0 decoded, 1 rows set aside" in ingest(project, two_nodes.address)


def test_photos_in_an_archive_are_opened_there_as_here(two_nodes: Any, project: Project):
    with ZipFile(project[0] / "raw/photos.zip", "w") as archive:
        for number in range(SHARD_ROWS + 20):
            photo = photo_of(number)
            archive.writestr(f"{number}.jpg", photo[:200] if number == 3 else photo)
    configure(project, "kaggle-csv", PHOTOS | {"photos": "photos.zip"})
    list_photos(project, range(SHARD_ROWS + 20))
    time.sleep(2.1)
    assert "531 photos, 531 decoded, 1 rows set aside" in ingest(project, two_nodes.address)
    assert "531 photos, 0 decoded, 1 rows set aside" in ingest(project, two_nodes.address)


@pytest.mark.parametrize("lost", ["worker", "node"])
def test_what_is_lost_while_shards_are_written(two_nodes: Any, project: Project, lost: str):
    files = [photo_of(number, (900, 700)) for number in range(20)]
    for number in range(6 * SHARD_ROWS):
        (project[0] / f"raw/photos/{number}.jpg").write_bytes(files[number % 20])
    configure(project, "kaggle-csv", PHOTOS)
    list_photos(project, range(6 * SHARD_ROWS))
    time.sleep(2.1)
    if lost == "node":
        node = two_nodes.add_node(num_cpus=1)
        two_nodes.wait_for_nodes()
    stage = start_ingest(project[0], two_nodes.address)
    while not list(project[0].glob("data/.images.*/images/*.npy")):
        time.sleep(0.05)
    if lost == "node":
        two_nodes.remove_node(node, allow_graceful=False)
    else:
        ours = psutil.Process().children(recursive=True)
        next(each for each in ours if "ray::_work" in " ".join(each.cmdline())).kill()
    assert stage.poll() is None
    assert said(stage) == said(start_ingest(project[1], ""))
    assert contents(project[0]) == contents(project[1])


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
        kept = sorted(Path(f"cache{len(computed)}").rglob(resumable.ROWS))
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

"""What tests of every room share: real photos where there are any, small parameters and data."""

import gc
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Generator, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.once import made_once

pytest_plugins = ["tests.dvc_projects"]

ROOT = Path(__file__).parents[1]

# Small enough for seconds, large enough for every label to be in every part; and what a user may
# well have set for data of their own.
SMALL = {
    "ingest.source": "digits",
    "ingest.root": "data/raw",
    "ingest.corrections": "data/corrections",
    "ingest.labels": None,
    "ingest.digits.train": 160,
    "ingest.digits.test": 40,
    "ingest.image_size": 32,
    "split.validation": 0.2,
    "split.folds": None,
    "split.fold": 0,
    "train.inputs": "image+caption",
    "train.backbone": "small_cnn",
    "train.weights": "none",
    "train.freeze": False,
    "train.text.embedding": 8,
    "train.text.hidden": 8,
    "train.epochs": 3,
    "train.batch_size": 32,
    "train.devices": 1,
    "bundle.onnx": False,
    "report.photos": 1,
    "report.labels": 3,
    "report.out_of_fold": "data/validation.parquet",
}


# The files that take longest, the longest first. What is handed to a process (pytest-xdist's
# loadfile) is a file, in this order: begun last, a long one would be waited for by all others.
LONGEST = [
    "flows/test_chaos.py",
    "flows/test_sweep.py",
    "pipeline/test_retraining.py",
    "experiments/test_remote.py",
    "flows/test_retrain.py",
    "pipeline/test_pipeline.py",
    "test_presets.py",
    "experiments/test_registry.py",
    "flows/test_serve.py",
    "bundle/test_export.py",
    "command/test_command.py",
    "train/test_distributed.py",
    "train/test_nodes.py",
    "train/test_stage.py",
    "flows/test_search.py",
    "report/test_stage.py",
    "network/test_nets.py",
    "experiments/test_dvc_project.py",
    "flows/test_patience.py",
    "test_cluster.py",
    "flows/test_reproduce.py",
    "flows/test_command.py",
    "flows/test_browser.py",
    "flows/test_retries.py",
    "flows/test_pool.py",
]


# What make quick leaves out, beside tests that are marked slow. Of these files and folders it does
# not even import anything; a test that asks for one of these fixtures trains a network or runs DVC.
SLOW = [
    *("benchmarks", "bundle", "experiments", "flows", "serve"),
    *("command/test_command.py", "eda/test_stage.py", "evaluation/test_ensemble.py"),
    *("network/test_nets.py", "network/test_transformer.py"),
    *("pipeline/test_options.py", "pipeline/test_pipeline.py", "pipeline/test_retraining.py"),
    *("project/test_wheel.py", "test_cluster.py"),
    *("report/test_browser.py", "report/test_page.py", "report/test_stage.py"),
    *("train/test_distributed.py", "train/test_loop.py", "train/test_nodes.py"),
    "train/test_stage.py",
]
SLOW_FIXTURES = {"bundle", "experimented", "prepared", "project", "toy"}


def is_slow(path: Path) -> bool:
    slow = {ROOT / "tests" / name for name in SLOW}
    return not slow.isdisjoint([path, *path.parents])


def pytest_configure() -> None:
    """A shell has what it starts in the background ignore SIGINT, which some tests send."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    return True if config.option.markexpr == "not slow" and is_slow(collection_path) else None


@pytest.hookimpl(optionalhook=True, wrapper=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> Generator[None, int, int]:
    """One more than cores: of the time of slow tests, they wait for a good part, for a server to
    look or a clock to strike."""
    return (yield) + (config.option.markexpr != "not slow")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the longest files first, marks the slow ones; skips what cannot run here, and says what
    is missing."""
    rank = {ROOT / "tests" / name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path, len(rank)))
    for item in items:
        is_shared = item.get_closest_marker("shared")
        if is_shared or is_slow(item.path) or not SLOW_FIXTURES.isdisjoint(item.fixturenames):
            item.add_marker(pytest.mark.slow)
        if is_shared and not os.environ.get("TAGLOOM_SHARED"):
            item.add_marker(pytest.mark.skip(reason="TAGLOOM_SHARED names no folder of photos"))
        if item.get_closest_marker("gpu") and not has_gpu():
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


def pytest_collection_finish() -> None:
    """What was imported stays; to look through it for garbage would take a second each time."""
    gc.freeze()


def has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


@pytest.fixture
def shared() -> Path:
    """The folder of real photos and weights (with the marker ``shared``)."""
    return Path(os.environ["TAGLOOM_SHARED"])


@pytest.fixture
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, with the cache folder in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TAGLOOM_CACHE", raising=False)
    return tmp_path


@cache
def own_params() -> str:
    """The content of the repository's ``params.yaml``, as JSON."""
    yaml = YAML(typ="safe", pure=True)
    return json.dumps(yaml.load((ROOT / "params.yaml").read_text("utf-8")))


def write_params(changes: dict[str, Any], folder: Path | None = None) -> None:
    """Writes the repository's ``params.yaml`` to a folder, ``changes`` applied: ``train.lr``: …"""
    params = json.loads(own_params())
    for key, value in changes.items():
        *sections, name = key.split(".")
        section = params
        for part in sections:
            section = section[part]
        assert name in section, f"{key} is no parameter"
        section[name] = value
    # JSON is YAML, and is written and read in a fraction of the time.
    text = json.dumps(params, ensure_ascii=False, indent=1)
    (folder or Path.cwd()).joinpath("params.yaml").write_text(text, "utf-8")


@pytest.fixture
def params(in_tmp: Path) -> Callable[..., None]:
    """A function that writes ``params.yaml`` in the current folder: the small sample's, changed."""

    def write(changes: dict[str, Any] | None = None) -> None:
        write_params(SMALL | (changes or {}))

    write()
    return write


@pytest.fixture(scope="session")
def _prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small sample, as far as vocab."""
    from stages.ingest.__main__ import main as ingest
    from stages.split.__main__ import main as split
    from stages.vocab.__main__ import main as vocab

    def make(folder: Path) -> None:
        write_params(SMALL, folder)
        (folder / "data/corrections").mkdir(parents=True)
        run_stages(folder, ingest, split, vocab)

    return made_once(tmp_path_factory, "prepared", make)


def run_stages(folder: Path, *stages: Callable[[], None]) -> None:
    """Calls the ``main`` of stages in a folder that has their parameters."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("TAGLOOM_CACHE", raising=False)
        for stage in stages:
            stage()


@pytest.fixture
def prepared(_prepared: Path, in_tmp: Path, params: Callable[..., None]) -> Path:
    """The current folder, holding the small sample with all that comes before train."""
    shutil.copytree(_prepared, in_tmp, dirs_exist_ok=True)
    return in_tmp


@pytest.fixture(scope="session")
def bundle(_prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with ONNX, of a network that has learnt the small sample's photos and captions.

    Tests leave it as it is. The project that made it is two folders up: ``data/images`` holds
    photos as it wants them, ``data/records.parquet`` their captions.
    """
    from stages.bundle.__main__ import main as bundle
    from stages.threshold.__main__ import main as threshold
    from stages.train.__main__ import main as train

    def make(folder: Path) -> None:
        shutil.copytree(_prepared, folder, dirs_exist_ok=True)
        write_params(SMALL | {"bundle.onnx": True}, folder)
        run_stages(folder, train, threshold, bundle)

    return made_once(tmp_path_factory, "bundled", make) / "models" / "bundle"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 32 MB; only who may mount has one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(command, check=False).returncode:
        pytest.skip("mounting a small tmpfs is not allowed here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)

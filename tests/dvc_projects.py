"""Fixtures: a real Prefect server for the session, and copies of real DVC projects."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import forked_python
from tests.flows import runs
from tests.once import made_once
from tests.toy import FILES, Toy

if TYPE_CHECKING:  # Prefect takes seconds to import, in each process that runs tests
    from prefect.client.orchestration import SyncPrefectClient


@pytest.fixture(scope="session")
def own_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """DVC's machine-wide files in a temporary folder; no identity from this machine's Git."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path_factory.mktemp("dvc")))
        patch.setenv("DVC_NO_ANALYTICS", "1")
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        for scope in ("GLOBAL", "SYSTEM"):
            patch.setenv(f"GIT_CONFIG_{scope}", os.devnull)
        for role in ("AUTHOR", "COMMITTER"):
            for key in ("NAME", "EMAIL"):
                patch.delenv(f"GIT_{role}_{key}", raising=False)
        yield


@pytest.fixture(scope="session")
def reproduced(own_environment: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that was reproduced and committed once, to be copied."""

    def make(folder: Path) -> None:
        toy = Toy(folder)
        for name, text in FILES.items():
            (folder / name).write_text(text)
        toy.begin()

    return made_once(tmp_path_factory, "toy", make)


def _copy(project: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    shutil.copytree(project, folder, symlinks=True)
    monkeypatch.chdir(folder)
    return Toy(folder)


@pytest.fixture
def toy(reproduced: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """A project where nothing is to be done; the current folder."""
    return _copy(reproduced, tmp_path / "toy", monkeypatch)


@pytest.fixture(scope="session")
def _with_experiments(own_environment: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with experiments, to be copied."""
    return made_once(tmp_path_factory, "experiments", runs.make)


@pytest.fixture
def experimented(_with_experiments: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """A project with the experiments of ``runs``; the current folder."""
    return _copy(_with_experiments, tmp_path / "experimented", monkeypatch)


@pytest.fixture(scope="session")
def prefect_home(own_environment: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for ``PREFECT_HOME`` with an empty database that is migrated, to be copied."""

    def make(folder: Path) -> None:
        command = [forked_python.executable(), *"-m prefect server database upgrade --yes".split()]
        environment = os.environ | {"PREFECT_HOME": str(folder)}
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)

    return made_once(tmp_path_factory, "prefect", make)


@pytest.fixture(scope="session")
def server(
    own_environment: None, prefect_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """A temporary Prefect server."""
    from prefect.testing.utilities import prefect_test_harness

    # The harness makes a folder with a file of this name, which the server would take as long to
    # migrate as to start.
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(prefect_home / "prefect.db", folder / "prefect-test.db")
    stack = ExitStack()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("prefect.testing.utilities.mkdtemp", lambda: str(folder))
        patch.setattr(sys, "executable", forked_python.executable())
        stack.enter_context(prefect_test_harness(server_startup_timeout=240))
    with stack:
        yield


@pytest.fixture
def client(server: None) -> "Iterator[SyncPrefectClient]":
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        yield client


@pytest.fixture(scope="session")
def _untrained_project(own_environment: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that is retrained as photos come, to be copied."""
    from tests.flows.retraining_project import make

    return made_once(tmp_path_factory, "untrained", make)


@pytest.fixture
def untrained_project(
    _untrained_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Toy:
    """A project that is retrained as photos come, and never was yet; the current folder."""
    return _copy(_untrained_project, tmp_path / "project", monkeypatch)


@pytest.fixture
def retraining_project(untrained_project: Toy, server: None) -> Toy:
    """That project, and a server to run its flows with."""
    return untrained_project

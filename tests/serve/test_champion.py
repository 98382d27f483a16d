"""The service loads the model that a project has promoted, and each that is promoted later."""

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from experiments.registry import Registry
from stages import UserError
from stages.bundle.bundle import read_bundle
from tagloom.serve.model_reload import Champion, ready
from tests.serve.conftest import running
from tests.serve.test_model_reload import change, until

# DVC 3.67 reads an attribute that the newest pygtrie means to drop.
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value will soon:DeprecationWarning")


@pytest.fixture
def project(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DVC project that has a bundle and no champion."""
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    for scope in ("GLOBAL", "SYSTEM"):
        monkeypatch.setenv(f"GIT_CONFIG_{scope}", os.devnull)
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "t")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "t@localhost")
    folder = tmp_path / "project"
    shutil.copytree(bundle, folder / "models" / "bundle")
    run(folder, "git", "init", "-q", "--initial-branch=main")
    run(folder, sys.executable, "-m", "dvc", "init", "-q")
    # The champion is fetched by the code in the project.
    shutil.copytree(Path(__file__).parents[2] / "experiments", folder / "experiments")
    return folder


def run(project: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=project, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def promote(project: Path, threshold: float) -> str:
    """Puts a bundle in use whose labels hold from ``threshold``; returns its SHA-256."""
    change(project / "models" / "bundle", threshold)
    run(project, sys.executable, "-m", "dvc", "add", "-q", "models/bundle")
    run(project, "git", "add", ".")
    run(project, "git", "commit", "-q", "-m", f"from {threshold}")
    rev = run(project, "git", "rev-parse", "HEAD")
    Registry(project).promote(rev, rev, f"from {threshold}")
    return read_bundle(project / "models" / "bundle").sha256


def test_each_champion_comes_in_use(project: Path, tmp_path: Path):
    champion = Champion(project, tmp_path / "cache" / "bundle")
    with pytest.raises(UserError, match="no model is in use"):
        asyncio.run(champion.fetch())

    first = promote(project, 1.0)
    asyncio.run(champion.fetch())
    model = ready(champion.folder, "torch")
    assert model.bundle.sha256 == first
    with running(model, poll=0.2, refresh=champion.fetch) as service:
        second = promote(project, 0.0)
        until(lambda: service.client.get("/health").json()["model"] == second)
        # A champion without a bundle, as before there were bundles, is reported and not used.
        run(project, "git", "rm", "-q", "models/bundle.dvc")
        run(project, "git", "commit", "-q", "-m", "none")
        rev = run(project, "git", "rev-parse", "HEAD")
        Registry(project).promote(rev, rev, "none")
        until(lambda: service.client.get("/health").json()["problem"])
        health = service.client.get("/health").json()
        assert "models/bundle of v0.0.3" in health["problem"]
        assert health["model"] == second
    assert [path.name for path in champion.folder.parent.iterdir()] == ["bundle"]


def test_the_end_is_heard_while_a_command_ends(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    begin = asyncio.create_subprocess_exec

    async def has_ended(*command: str, **options: Any) -> asyncio.subprocess.Process:
        process = await begin(*command, **options)
        await process.wait()
        await asyncio.sleep(0.1)  # until its pipes are closed, too
        asyncio.current_task().cancel()
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", has_ended)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(Champion(tmp_path, tmp_path / "bundle").fetch())

"""What Git says of a project, and that a stage misses it without harm."""

import os
import subprocess
from pathlib import Path

import pytest

from stages.git import git


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "--quiet", "--initial-branch=main", tmp_path], check=True)
    return tmp_path


def test_what_it_prints_in_a_folder(repository: Path):
    assert git("branch", "--show-current", folder=repository) == "main"
    assert git("status", "--porcelain", folder=repository) == ""


def test_none_where_there_is_nothing_to_know(repository: Path, monkeypatch: pytest.MonkeyPatch):
    assert git("rev-parse", "HEAD", folder=repository) is None  # no commit
    assert git("status", folder=repository / "missing") is None
    monkeypatch.setenv("PATH", "/nowhere")
    assert git("branch", "--show-current", folder=repository) is None


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_a_repository_that_git_refuses_is_told_once(
    repository: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)  # which may trust every folder
    for path in (repository, repository / ".git"):
        os.chown(path, 12345, 12345)
    assert git("status", folder=repository) is None
    assert git("status", folder=repository) is None
    assert capsys.readouterr().err.count("safe.directory") == 1

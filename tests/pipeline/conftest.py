"""A real repository of the pipeline in a temporary folder, run once on a small sample."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests import forked_python
from tests.conftest import ROOT, SMALL, write_params
from tests.once import made_once


@dataclass(frozen=True)
class Project:
    """A checkout of the pipeline with a Git and a DVC repository.

    Attributes:
        python: the folder of the Python that runs its stages; None: this one's.
    """

    root: Path
    python: Path | None = None

    def __call__(self, *command: str) -> str:
        """Runs a command there and returns what it printed; raises if it failed."""
        done = subprocess.run(
            command, cwd=self.root, env=environment(self.python), text=True, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        return done.stdout

    def dvc(self, *arguments: str) -> str:
        return self("python", "-m", "dvc", *arguments)

    def commit(self, message: str) -> None:
        self("git", "add", "--all")
        self("git", "commit", "--quiet", "--message", message)

    def ran(self, *arguments: str) -> list[str]:
        """The stages that a DVC command ran, in order."""
        return re.findall(r"^Running stage '(.+)':", self.dvc(*arguments), re.MULTILINE)


def files_of_git() -> list[str]:
    """The files of this repository that Git keeps, or would after ``git add``."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, text=True, stdout=subprocess.PIPE,
    )  # fmt: skip
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).exists()]


def environment(python: Path | None = None) -> dict[str, str]:
    """This process's, with this Python's folder first, or ``python``; Git knows nobody's name."""
    bin = python or Path(sys.executable).parent
    return os.environ | {
        "PATH": f"{bin}{os.pathsep}{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_AUTHOR_NAME": "Test",
        "GIT_AUTHOR_EMAIL": "test@example.org",
        "GIT_COMMITTER_NAME": "Test",
        "GIT_COMMITTER_EMAIL": "test@example.org",
    }


def checkout(root: Path, params: dict[str, Any], stages: Collection[str] = ()) -> Project:
    """The pipeline with other parameters in the new folder ``root``, committed; nothing ran yet.

    Of its stages only ``stages``, where any are named.
    """
    for name in files_of_git():
        if name.startswith("data/") and name.endswith((".csv", ".dvc")):
            continue  # not the code's: corrections, and data sets that people have added
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    write_params(params, root)
    if stages:
        yaml = YAML(typ="safe", pure=True)
        pipeline = yaml.load((root / "dvc.yaml").read_text("utf-8"))
        pipeline["stages"] = {name: pipeline["stages"][name] for name in stages}
        yaml.dump(pipeline, root / "dvc.yaml")
    project = Project(root)
    project("git", "init", "--quiet", "--initial-branch=main")
    project("git", "config", "user.name", "Test")
    project("git", "config", "user.email", "test@example.org")
    project.commit("The code")
    return project


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The pipeline, reproduced and committed; tests leave it as they found it."""
    python = forked_python.folder()

    def make(folder: Path) -> None:
        project = replace(checkout(folder, SMALL), python=python)
        project.dvc("repro")
        project.commit("The small sample")

    made = made_once(tmp_path_factory, "pipeline", make)
    root = tmp_path_factory.mktemp("pipeline") / "tagloom"
    return Project(shutil.copytree(made, root, symlinks=True), python)

"""An earlier state of the project to compare with, read from Git.

A revision is a branch, a tag, a commit or a DVC experiment, whose commits are kept below
``refs/exps``. Stages run where there is no Git, too; then there is none to be found.
"""

import json
from collections.abc import Iterator
from configparser import ConfigParser
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from stages.files import project_root
from stages.git import git

EXPERIMENTS = "refs/exps"  # /AB/CDEF…/NAME: DVC keeps them below the commit that they start from


@dataclass(frozen=True)
class Revision:
    """A commit.

    Attributes:
        name: what it was asked for by.
        commit: its hash.
        date: of the commit, like 2026-03-31.
        folder: a checkout that knows it.
    """

    name: str
    commit: str
    date: str
    folder: Path

    def text(self, path: str) -> str | None:
        """The content of a file as it was; None where it was not there."""
        return git("show", f"{self.commit}:./{path}", folder=self.folder)

    def json(self, path: str) -> dict[str, Any]:
        """The content of a JSON file as it was; empty where it was not there."""
        return json.loads(self.text(path) or "{}")

    def output(self, stage: str, path: Path) -> Path | None:
        """Where DVC's cache has what ``stage`` wrote to ``path``; None where it has not."""
        digest = self.hash_of(stage, path)
        if not digest:
            return None
        options = ConfigParser(interpolation=None)
        options.read(self.folder / ".dvc" / name for name in ("config", "config.local"))
        # Relative to the folder of the options; elsewhere it may be, and then it is not found.
        cache = self.folder / ".dvc" / options.get("cache", "dir", fallback="cache")
        file = cache / "files" / "md5" / digest[:2] / digest[2:]
        return file if file.is_file() else None

    def hash_of(self, stage: str, path: Path) -> str | None:
        """The MD5 of what ``stage`` wrote to ``path``; None where DVC did not run it."""
        outs = self.yaml("dvc.lock").get("stages", {}).get(stage, {}).get("outs", [])
        return next((out.get("md5") for out in outs if out.get("path") == str(path)), None)

    def yaml(self, path: str) -> dict[str, Any]:
        """The content of a YAML file as it was; empty where it was not there."""
        return YAML(typ="safe", pure=True).load(self.text(path) or "{}")


def find(name: str) -> Revision | None:
    """The revision ``name``, also of a remote; None where Git, or the name, is not there.

    An experiment that runs in a workspace of its own knows no branches; the checkout that it was
    started from does.
    """
    for folder in dict.fromkeys((Path.cwd(), project_root())):
        for ref in _candidates(folder, name):
            ask = ("log", "-1", "--format=%H %cs", "--end-of-options", ref, "--")
            if line := git(*ask, folder=folder):
                commit, date = line.split()
                return Revision(name, commit, date, folder)
    return None


def branch() -> str | None:
    """The branch that is checked out; None where there is none, or no Git."""
    return git("branch", "--show-current") or None


def _candidates(folder: Path, name: str) -> Iterator[str]:
    """What Git may know the revision ``name`` by, the likeliest first."""
    # In a project below the top folder of its repository a branch of models has this name.
    prefix = (git("rev-parse", "--show-prefix", folder=folder) or "").strip("/")
    names = (name, f"{name}-{prefix.replace('/', '-')}") if prefix else (name,)
    yield from names
    ask = ("for-each-ref", "--format=%(refname)", EXPERIMENTS, "refs/remotes")
    for ref in (git(*ask, folder=folder) or "").splitlines():
        kind, below = ref.split("/", 2)[1:]
        if below.split("/", 2 if kind == "exps" else 1)[-1] in names:
            yield ref

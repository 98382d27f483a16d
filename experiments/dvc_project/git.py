"""Git: its command line, where a project is in its repository, and who commits."""

import os
import subprocess
from pathlib import Path

from experiments.dvc_project.errors import ProjectError

COMMITS = {"commit", "commit-tree", "merge"}
IDENTITY = {"name": "Tagloom", "email": "tagloom@localhost"}


def git(root: Path, *arguments: str, **variables: str) -> str:
    """What Git prints, without the blanks around it, run with ``variables`` in its environment.

    Raises ProjectError with Git's own reason where it could not do what it was asked for.
    """
    printed = git_or_none(root, *arguments, **variables)
    if printed is None:
        raise ProjectError(f"git {arguments[0]} in {root}: exit status 1")
    return printed


def git_or_none(root: Path, *arguments: str, **variables: str) -> str | None:
    """As ``git``; None where the answer is no: there is no such ref or setting, or things differ.

    Git says so by exit status 1, without a word.
    """
    who = identity(root) if arguments[0] in COMMITS else {}
    done = subprocess.run(
        ["git", *arguments],
        cwd=root,
        env={**who, **os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    reason = done.stderr.strip()
    if done.returncode == 1 and not reason:
        return None
    if done.returncode:
        reason = reason or f"exit status {done.returncode}"
        raise ProjectError(f"git {arguments[0]} in {root}: {reason}")
    return done.stdout.strip()


def git_file(root: Path, rev: str, path: str) -> str | None:
    """The text of a file, its path seen from ``root``, in the commit ``rev``; None if not there."""
    if not git(root, "ls-tree", "-z", rev, "--", path):
        return None
    return git(root, "show", f"{rev}:./{path}")


def git_folder(root: Path) -> tuple[Path, Path]:
    """The top folder of the Git repository that ``root`` is in, and the path from there to it."""
    top, _, below = git(root, "rev-parse", "--show-toplevel", "--show-prefix").partition("\n")
    return Path(top), Path(below)


def head(root: Path) -> str:
    """The commit that is checked out; ProjectError where there is none yet."""
    rev = git_or_none(root, "rev-parse", "--verify", "--quiet", "HEAD")
    if rev is None:
        raise ProjectError(f"Git has no commit in {root} yet, and this begins at one")
    return rev


def identity(root: Path) -> dict[str, str]:
    """Variables that tell Git who commits: the one it knows, or Tagloom where it knows nobody."""
    names = {
        key: git_or_none(root, "config", f"user.{key}") or name for key, name in IDENTITY.items()
    }
    roles = ("AUTHOR", "COMMITTER")
    return {f"GIT_{role}_{key.upper()}": name for key, name in names.items() for role in roles}

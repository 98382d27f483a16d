"""Git: its command line, and who commits."""

import os
import subprocess
from pathlib import Path

IDENTITY = {"name": "Tagloom", "email": "tagloom@localhost"}


def git(root: Path, *arguments: str) -> str | None:
    """What Git prints, without the blanks around it; None where it fails."""
    done = subprocess.run(
        ["git", *arguments],
        cwd=root,
        env={**identity(root), **os.environ} if arguments[0] == "commit-tree" else None,
        capture_output=True,
        text=True,
        check=False,
    )
    return None if done.returncode else done.stdout.strip()


def identity(root: Path) -> dict[str, str]:
    """Variables that tell Git who commits: the one it knows, or Tagloom where it knows nobody."""
    names = {key: git(root, "config", f"user.{key}") or name for key, name in IDENTITY.items()}
    roles = ("AUTHOR", "COMMITTER")
    return {f"GIT_{role}_{key.upper()}": name for key, name in names.items() for role in roles}

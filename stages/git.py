"""What Git knows of a project; stages run where there is no Git, too."""

import subprocess
import sys
from functools import cache
from pathlib import Path

from stages import printable


def git(*arguments: str, folder: Path = Path()) -> str | None:
    """What the command prints, asked in ``folder``, without the line ends that close it.

    None where the command fails, where there is no repository and where Git is not installed.
    """
    command = ["git", "-C", str(folder), *arguments]
    try:
        result = subprocess.run(command, capture_output=True, check=False)
    except OSError:
        return None
    output, message = (
        stream.decode("utf-8", "replace").rstrip("\n") for stream in (result.stdout, result.stderr)
    )
    if "dubious ownership" in message:
        # There is a repository, and what a stage writes will not say what it was made from.
        _warn(message)
    return output if result.returncode == 0 else None


@cache
def _warn(message: str) -> None:
    """Prints the message, once a run."""
    print(printable(f"git: {message}"), file=sys.stderr)

"""The bundle that an option or a variable names."""

from pathlib import Path

from stages import UserError
from stages.bundle.bundle import Bundle, read_bundle


def read(folder: Path) -> Bundle:
    """The bundle in ``folder``, every file of it checked.

    Raises:
        UserError: there is none, or a file of it is not what it was.
    """
    if not folder.exists():
        raise UserError(
            f"there is no {folder}; say where the bundle is with --bundle PATH or TAGLOOM_BUNDLE, "
            "or make it, in the project: dvc repro bundle"
        )
    return read_bundle(folder)

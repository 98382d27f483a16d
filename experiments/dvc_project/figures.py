"""Figures that stages write: what DVC shows as metrics, and all that Git keeps as JSON."""

from collections.abc import Container
from contextlib import suppress
from pathlib import Path
from typing import Any

from dvc.output import Output
from dvc.repo import Repo
from dvc.utils.serialize import PARSERS, ParseError


def holds_figures(out: Output) -> bool:
    """Whether it is one of those files: DVC lists most of them as plots (dvc.yaml says why)."""
    return out.is_metric or (not out.use_cache and Path(out.def_path).suffix == ".json")


def figures(repo: Repo, rev: str = "workspace", without: Container[str] = ()) -> dict[str, Any]:
    """The content of the files of figures at ``rev``, by path, ``without`` some.

    Those that are not there, or half-written, are left out.
    """
    content: dict[str, Any] = {}
    with repo.switch(rev):
        outs = (out for stage in repo.index.stages for out in stage.outs if holds_figures(out))
        for path in (str(out.def_path) for out in outs):
            where = repo.dvcfs.from_os_path(path)
            if path not in without and repo.dvcfs.exists(where):
                parse = PARSERS[Path(path).suffix.lower()]
                with suppress(ParseError, ValueError):
                    content[path] = parse(repo.dvcfs.read_text(where, encoding="utf-8"), path)
    return content

"""YOLO: a ``data.yaml`` that names classes and photos."""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import PurePosixPath
from typing import Any

from ruamel.yaml import YAML, YAMLError

from experiments.look.candidate import ANNOTATIONS, Candidate
from experiments.look.index import Index

BOX = re.compile(r"\d+( \d*\.?\d+){4,}\s*")


def candidates(index: Index, troubles: list[str]) -> Iterator[Candidate]:
    """Each YAML file below the folder that has what ``data.yaml`` has.

    Adds to ``troubles`` where there is none, and it would be needed.
    """
    is_there = False
    for path in index.with_suffix(".yaml", ".yml"):
        try:
            content: Any = YAML(typ="safe", pure=True).load((index.root / path).read_bytes())
        except (YAMLError, UnicodeError):
            continue  # not ours
        if isinstance(content, dict) and {"names", "train"} <= content.keys():
            parts = [key for key in ("train", "val", "validation", "test") if content.get(key)]
            why = {"data": f"it has names of classes, and {', '.join(parts)}"}
            shape = f"YOLO's text files of boxes, {path}"
            yield Candidate(shape, ANNOTATIONS, "yolo", {"data": path}, why)
            is_there = True
    if not is_there and any(map(partial(_is_box_file, index), index.with_suffix(".txt"))):
        troubles.append(
            "there are text files of boxes, as for YOLO, but no data.yaml that says names, train "
            "and val: write one"
        )


def _is_box_file(index: Index, path: str) -> bool:
    """Whether a text file is named as a photo, and its first line is a class and a box."""
    if PurePosixPath(path).stem not in index.by_stem:
        return False
    with (index.root / path).open(encoding="utf-8", errors="replace") as file:
        return bool(BOX.fullmatch(file.readline()))

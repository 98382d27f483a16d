"""COCO's JSON files: instances or panoptic, of one part or several, and captions."""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from experiments.look.candidate import ANNOTATIONS, Candidate
from experiments.look.index import Index
from experiments.look.names import match
from experiments.look.parts import TEST, TRAIN, VALIDATION, part_of

MARK = b'"images"'


class _File(NamedTuple):
    """A JSON file of COCO.

    Attributes:
        kind: ``instances``, ``panoptic``, ``captions``, or ``images`` without annotations.
        family: its name without the part; files of one family are parts of one data set.
        photos: the folder of those that it lists, None where none is there; and how many are.
    """

    path: str
    kind: str
    family: str
    part: str | None
    categories: int
    images: frozenset[Any]
    photos: str | None
    found: int


def candidates(index: Index, troubles: list[str]) -> Iterator[Candidate]:
    """What the JSON files below a folder may be; adds what cannot be read to ``troubles``."""
    read = (_read(index, path, troubles) for path in index.with_suffix(".json"))
    files = [each for each in read if each]
    labelled = [each for each in files if each.kind in ("instances", "panoptic") and each.photos]
    families: dict[tuple[str, str], list[_File]] = {}
    for each in labelled:
        families.setdefault((each.kind, each.family), []).append(each)
    for family in sorted(families.values(), key=_order):
        yield _candidate(family, files)


def _order(family: list[_File]) -> tuple[bool, str, int]:
    """What is called instances first, a panoptic file last; else that of the most labels."""
    most = max(each.categories for each in family)
    return "instances" not in family[0].path, family[0].kind, -most


def _read(index: Index, path: str, troubles: list[str]) -> _File | None:
    """The file; None where it is none of COCO's."""
    content = (index.root / path).read_bytes()
    if MARK not in content:
        return None
    try:
        content = json.loads(content)
    except ValueError as error:
        troubles.append(f"{index.root / path} is not JSON: {error}")
        return None
    images, annotations, categories = (
        [each for each in items if isinstance(each, dict)]
        if isinstance(content, dict) and isinstance(items := content.get(key), list)
        else []
        for key in ("images", "annotations", "categories")
    )
    names = [name for image in images if isinstance(name := image.get("file_name"), str)]
    there = match(names, index)
    is_one = there is not None and there.pattern == "{id}"
    first = annotations[0] if annotations else {}
    kind = next((name for name, key in KINDS.items() if key in first), "images")
    if kind == "images" and categories and "annotations" in content:  # nothing is marked
        kind = "instances"
    ids = (image.get("id") for image in images)
    if kind == "captions":
        ids = (annotation.get("image_id") for annotation in annotations)
    return _File(
        *(path, kind, _family(path), part_of(path), len(categories)),
        frozenset(id for id in ids if isinstance(id, int | str)),
        there.folders[0] if there and is_one else None,
        there.found if there and is_one else 0,
    )


KINDS = {"captions": "caption", "panoptic": "segments_info", "instances": "category_id"}


def _family(path: str) -> str:
    """The words of the path but those that say a part, without years."""
    return " ".join(word for word in re.split(r"[\W\d_]+", path) if part_of(word) is None)


def _candidate(family: list[_File], files: list[_File]) -> Candidate:
    """The parts of a family, with their captions."""
    parts: dict[str, _File] = {}
    for each in sorted(family, key=lambda each: -each.found):
        parts.setdefault(each.part or TRAIN, each)
    if TRAIN not in parts:  # it can but be learnt from
        parts = {TRAIN: next(iter(parts.values()))}
    if TEST not in parts:
        lists = (each for each in files if each.kind == "images" and each.part == TEST)
        parts |= {TEST: test} if (test := next((f for f in lists if f.photos), None)) else {}
    train = parts[TRAIN]
    options: dict[str, Any] = {"instances": train.path, "captions": None, "photos": train.photos}
    why = {
        "instances": f"{train.found:,} of its photos are there, {train.categories:,} categories",
        "photos": "they are in it",
    }
    for part in (VALIDATION, TEST):
        options |= {part: None, f"{part}_photos": None}
        if file := parts.get(part):
            options[part] = file.path
            why[part] = f"by its name; {file.found:,} of its photos are there"
            if file.photos != train.photos:
                options[f"{part}_photos"], why[f"{part}_photos"] = file.photos, "they are in it"
    captions = [each for each in files if each.kind == "captions"]
    for key, part in (("captions", TRAIN), ("validation_captions", VALIDATION)):
        options.setdefault(key, None)
        of_part = [c for c in captions if part in parts and c.images & parts[part].images]
        if of_part:
            best = max(of_part, key=lambda each: len(each.images & parts[part].images))
            options[key], why[key] = best.path, "captions of these photos"
    if options["validation_captions"] == options["captions"]:
        options["validation_captions"] = None
    doubts = []
    if left := [each.path for each in family if each not in parts.values()]:
        doubts.append(f"not read: {', '.join(left)}, for there is one file for each part")
    what = "COCO's panoptic files" if train.kind == "panoptic" else "COCO's files of instances"
    shape = f"{what}, {train.path}"
    return Candidate(shape, ANNOTATIONS, "coco-json", options, why, doubts=tuple(doubts))

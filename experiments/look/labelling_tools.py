"""What tools that people label with export: Label Studio's JSON, CVAT's XML."""

import json
from collections import Counter
from collections.abc import Iterator
from itertools import product
from typing import Any

from pydantic import ValidationError

from experiments.look.candidate import ANNOTATIONS, Candidate
from experiments.look.index import Index
from experiments.look.names import match
from stages import UserError
from stages.ingest.sources import Row, cvat, label_studio

HEAD = 4096  # bytes


def candidates(index: Index, troubles: list[str]) -> Iterator[Candidate]:
    """The exports below a folder; adds what cannot be read to ``troubles``."""
    for path in index.with_suffix(".json"):
        if found := _label_studio(index, path):
            yield found
    for path in index.with_suffix(".xml"):
        with (index.root / path).open("rb") as file:
            if b"<annotations" not in file.read(HEAD):
                continue
        try:
            rows = [*cvat.rows(index.root, cvat.Options(annotations=path, photos=""))]
        except UserError as error:
            troubles.append(str(error))
            continue
        names = [str(row.photo).lstrip("/") for row in rows if isinstance(row, Row)]
        if (there := match(names, index)) and there.pattern == "{id}":
            options = {"annotations": path, "photos": there.folders[0]}
            why = {"photos": f"{there.found:,} of its photos are in it"}
            yield Candidate(f"CVAT's images, {path}", ANNOTATIONS, "cvat", options, why)


def _label_studio(index: Index, path: str) -> Candidate | None:
    try:
        items = json.loads((index.root / path).read_bytes())
    except ValueError:  # coco tells of it
        return None
    if not isinstance(items, list) or not all(isinstance(each, dict) for each in items):
        return None
    data = [each for item in items if isinstance(each := item.get("data", item), dict)]
    texts = {key for each in data for key, value in each.items() if isinstance(value, str)}
    for control, image in product(_controls(items), sorted(texts, key=lambda key: key != "image")):
        options = {"file": path, "photos": "", "image": image, "labels": control}
        try:
            rows = [*label_studio.rows(index.root, label_studio.Options(**options))]
        except UserError:  # no choice of this control
            continue
        names = [row.id for row in rows if isinstance(row, Row)]
        if (there := match(names, index)) and there.pattern == "{id}":
            why = {
                "photos": f"{there.found:,} of its photos are in it",
                "image": "its values lead to photos",
                "labels": "the control that it has most choices of",
            }
            shape = f"an export of Label Studio, {path}"
            options["photos"] = there.folders[0]
            return Candidate(shape, ANNOTATIONS, "label-studio", options, why)
    return None


def _controls(items: list[dict[str, Any]]) -> list[str]:
    """The controls that tasks have choices of, that of most first."""
    found: Counter[str] = Counter()
    for item in items:
        try:
            task = label_studio.Task.model_validate(item)
        except ValidationError:  # an item of JSON-MIN
            found.update(key for key, value in item.items() if _are_choices(value))
        else:
            results = (result for each in task.annotations for result in each.result)
            found.update(result.from_name for result in results if result.value.choices)
    # In JSON-MIN, a single choice is text as much else is.
    return [name for name, _ in found.most_common()] or ["labels"]


def _are_choices(value: object) -> bool:
    return isinstance(value, dict) and "choices" in value

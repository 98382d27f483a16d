"""``label-studio``: an export of Label Studio, JSON or JSON-MIN, of photos and choices.

A photo's labels are the choices of one control; it has none where someone submitted it without a
choice. Those that only some of its annotations name are not known. Nothing is known of a photo
that is not annotated, or was skipped. A photo is called by what the task says under ``photo_id``,
as those of ``tagloom next`` do, else by the path or the address of its image.
(Format: https://labelstud.io/guide/export)
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from pydantic import BaseModel, ValidationError

from stages import UserError
from stages.ingest import naming
from stages.ingest.addresses import is_address
from stages.ingest.sources import Row, Unreadable, joined, read_text
from stages.params import Section

ID = "photo_id"
LOCAL = "/data/local-files/?d="  # then the path below its folder of documents
UPLOADED = re.compile(r"/data/upload/(?:\d+/)?(?:[0-9a-f]{8}-)?(.+)")


class Options(Section):
    file: str
    photos: str
    image: str
    labels: str


class _Value(BaseModel):
    choices: list[str] = []


class _Result(BaseModel):
    from_name: str = ""  # relations have none
    value: _Value = _Value()


class _Annotation(BaseModel):
    result: list[_Result]
    was_cancelled: bool = False


class Task(BaseModel):
    """A task with what people have said of it, as far as it matters here."""

    data: dict[str, Any]
    annotations: list[_Annotation]


def rows(root: Path, options: Options) -> Iterator[Row | Unreadable]:
    given: dict[str, list[set[str]]] = {}  # the choices of each annotation, by photo
    places: dict[str, int] = {}
    for number, item in enumerate(_items(root, options.file), 1):
        try:
            task = Task.model_validate(_whole(item, options.labels))
            name = _name(task.data, options.image)
        except (ValidationError, KeyError):
            reason = f"it is no task with an image ({options.image}) and choices ({options.labels})"
            yield Unreadable(options.file, number, reason)
            continue
        places.setdefault(name, number)
        given.setdefault(name, []).extend(
            {name for each in of.result if each.from_name == options.labels
             for name in each.value.choices}
            for of in task.annotations
            if not of.was_cancelled
        )  # fmt: skip
    labels = {label for annotations in given.values() for label in set().union(*annotations)}
    if given and not labels:
        raise UserError(
            f"{root / options.file}: no task has a choice of a control that is called "
            f"{options.labels!r} (ingest.label-studio.labels), which the labelling configuration "
            "names: <Choices name=…>"
        )
    naming.check(labels, f"{root / options.file}, its choices")
    for name, annotations in given.items():
        agreed = set.intersection(*annotations) if annotations else set()
        yield Row(
            file=options.file,
            row=places[name],
            id=name,
            photo=joined(options.photos, name),
            subset="train",
            labels=sorted(agreed) if annotations else None,
            caption=None,
            unknown=tuple(sorted(set().union(*annotations) - agreed)),
        )


def _items(root: Path, file: str) -> list[Any]:
    try:
        content = json.loads(read_text(root, file))
    except json.JSONDecodeError as error:
        raise UserError(f"{root / file} is not JSON: {error}") from error
    if not isinstance(content, list):
        raise UserError(
            f"{root / file} is no list of tasks; export them from Label Studio as JSON or JSON-MIN"
        )
    return content


def _whole(item: Any, control: str) -> Any:
    """The task as JSON has it, of an item of JSON or of JSON-MIN, which are its annotations."""
    if not isinstance(item, dict) or "data" in item:
        return item
    if item.get("annotation_id", 0) is None:  # exported though nobody has looked at it
        return {"data": item, "annotations": []}
    value = item.get(control, {})  # one choice stands there as it is
    choices = {"choices": [value]} if isinstance(value, str) else value
    return {"data": item, "annotations": [{"result": [{"from_name": control, "value": choices}]}]}


def _name(data: dict[str, Any], key: str) -> str:
    """What a photo is called.

    Raises:
        KeyError: the task does not say.
    """
    if isinstance(id := data.get(ID), str):
        return id
    image = data.get(key)
    if not isinstance(image, str) or not image:
        raise KeyError(key)
    if is_address(image):
        return image
    if uploaded := UPLOADED.fullmatch(image):
        image = uploaded[1]
    return unquote(image.removeprefix(LOCAL)).lstrip("/")

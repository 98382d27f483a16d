"""``coco-json``: the JSON files of COCO: instances, captions if given, image info for test.

A photo's labels are the names of its instances' categories; a photo without instances is known
to have none. Several captions of one photo become one, a line each.
(Format: https://cocodataset.org/#format-data)
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stages import UserError
from stages.ingest.sources import Row, Unreadable, read_text
from stages.params import Section


class Options(Section):
    instances: str
    captions: str | None
    photos: str
    test: str | None
    test_photos: str | None


def rows(root: Path, options: Options) -> Iterator[Row | Unreadable]:
    content = _read(root, options.instances, ["images", "annotations", "categories"])
    names = {category["id"]: category["name"] for category in content["categories"]}
    labels: dict[Any, set[str]] = defaultdict(set)
    for number, annotation in enumerate(content["annotations"], 1):
        category = annotation.get("category_id")
        if category not in names or "image_id" not in annotation:
            reason = f"annotation {annotation.get('id')} has no image or no category of the list"
            yield Unreadable(options.instances, number, reason)
            continue
        labels[annotation["image_id"]].add(names[category])

    captions: dict[Any, list[str]] = defaultdict(list)
    if options.captions is not None:
        told = _read(root, options.captions, ["annotations"])["annotations"]
        for number, annotation in enumerate(told, 1):
            if not {"image_id", "caption"} <= annotation.keys():
                reason = f"annotation {annotation.get('id')} has no image or no caption"
                yield Unreadable(options.captions, number, reason)
                continue
            captions[annotation["image_id"]].append(annotation["caption"].strip())

    order = list(names.values())
    in_order = {image: sorted(held, key=order.index) for image, held in labels.items()}
    yield from _rows(options.instances, content, options.photos, "train", in_order, captions)
    if options.test is not None:
        content = _read(root, options.test, ["images"])
        folder = options.test_photos or options.photos
        yield from _rows(options.test, content, folder, "test", None, captions)


def _rows(
    file: str,
    content: dict[str, Any],
    folder: str,
    subset: str,
    labels: dict[Any, list[str]] | None,
    captions: dict[Any, list[str]],
) -> Iterator[Row | Unreadable]:
    for number, image in enumerate(content["images"], 1):
        if not {"id", "file_name"} <= image.keys():
            yield Unreadable(file, number, "an image without id or file_name")
            continue
        yield Row(
            file=file,
            row=number,
            id=image["file_name"],
            photo=f"{folder}/{image['file_name']}",
            subset=subset,
            labels=None if labels is None else labels.get(image["id"], []),
            caption="\n".join(captions.get(image["id"], [])) or None,
        )


def _read(root: Path, file: str, keys: list[str]) -> dict[str, Any]:
    try:
        content = json.loads(read_text(root, file))
    except json.JSONDecodeError as error:
        raise UserError(f"{root / file} is not JSON: {error}") from error
    for key in keys:
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise UserError(f"{root / file} has no list {key!r}, as COCO's files of this kind do")
    return content

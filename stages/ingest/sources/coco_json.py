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
from stages.ingest import naming
from stages.ingest.sources import Row, Unreadable, read_text
from stages.params import Section

MAY_LACK = ("captions", "test")


class Options(Section):
    instances: str
    captions: str | None
    photos: str
    test: str | None
    test_photos: str | None


def rows(root: Path, options: Options) -> Iterator[Row | Unreadable]:
    content = _read(root, options.instances, ["images", "annotations", "categories"])
    names = _category_names(root / options.instances, content["categories"])
    listed = [(options.instances, options.photos, "train", content["images"])]
    if options.test is not None:
        images = _read(root, options.test, ["images"])["images"]
        listed.append((options.test, options.test_photos or options.photos, "test", images))
    train_ids, all_ids = _ids(root, listed)

    labels: dict[int | str, set[str]] = defaultdict(set)
    for number, annotation in enumerate(content["annotations"], 1):
        if _key(annotation, "image_id") not in train_ids:
            yield Unreadable(options.instances, number, "an annotation of an image not listed")
        elif _key(annotation, "category_id") not in names:
            yield Unreadable(options.instances, number, "an annotation of a category not listed")
        else:
            labels[annotation["image_id"]].add(names[annotation["category_id"]])

    captions: dict[int | str, list[str]] = defaultdict(list)
    if options.captions:
        yield from _add_captions(captions, root, options.captions, all_ids)

    for file, folder, subset, images in listed:
        for number, image in enumerate(images, 1):
            if not _is_image(image):
                yield Unreadable(file, number, "an image without id or file_name")
                continue
            yield Row(
                file=file,
                row=number,
                id=image["file_name"],
                photo=f"{folder}/{image['file_name']}",
                subset=subset,
                labels=sorted(labels[image["id"]]) if subset == "train" else None,
                caption="\n".join(captions[image["id"]]) or None,
            )


def _add_captions(
    captions: dict[int | str, list[str]], root: Path, file: str, ids: set[int | str]
) -> Iterator[Unreadable]:
    """Adds the captions in ``file`` to those of their images; yields what is no caption of one."""
    for number, annotation in enumerate(_read(root, file, ["annotations"])["annotations"], 1):
        if _key(annotation, "image_id") not in ids:
            yield Unreadable(file, number, "a caption of an image not listed")
        elif not isinstance(annotation.get("caption"), str):
            yield Unreadable(file, number, "a caption without text")
        else:
            captions[annotation["image_id"]].append(annotation["caption"].strip())


def _ids(
    root: Path, listed: list[tuple[str, str, str, list[dict[str, Any]]]]
) -> tuple[set[int | str], set[int | str]]:
    """The ids of the images to train on, and those of all images."""
    train_ids, *others = (
        {image["id"] for image in images if _is_image(image)} for *_, images in listed
    )
    all_ids = train_ids.union(*others)
    if len(all_ids) < len(train_ids) + sum(map(len, others)):
        (train, *_), (test, *_) = listed
        twice = min(train_ids.intersection(*others), key=str)
        raise UserError(
            f"{root / train} and {root / test} both have an image of id {twice}, so a caption "
            "could be of either; number the images anew"
        )
    return train_ids, all_ids


def _is_image(image: dict[str, Any]) -> bool:
    return _key(image, "id") is not None and isinstance(image.get("file_name"), str)


def _key(item: dict[str, Any], name: str) -> int | str | None:
    return item[name] if isinstance(item.get(name), int | str) else None


def _category_names(path: Path, categories: list[dict[str, Any]]) -> dict[int | str, str]:
    for number, category in enumerate(categories, 1):
        if _key(category, "id") is None or not isinstance(category.get("name"), str):
            raise UserError(f"{path}: category {number} has no id or no name")
    names = {category["id"]: category["name"] for category in categories}
    naming.check(names.values(), f"{path}, its categories")
    return names


def _read(root: Path, file: str, keys: list[str]) -> dict[str, list[dict[str, Any]]]:
    try:
        content = json.loads(read_text(root, file))
    except json.JSONDecodeError as error:
        raise UserError(f"{root / file} is not JSON: {error}") from error
    for key in keys:
        values = content.get(key) if isinstance(content, dict) else None
        if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
            raise UserError(
                f"{root / file} has no list {key!r} of objects, as COCO's files of this kind do"
            )
    return content

"""``coco-json``: the JSON files of COCO: instances or panoptic, captions, image info for test.

A photo's labels are the names of the categories of its instances, or of its segments in a panoptic
file; a photo without any is known to have none. An annotation of a category that is not listed
could be of any label, so its photo is set aside. A second file of instances is the photos that
validate. Photos of test have labels where their file has annotations. Several captions of one
photo become one, a line each. (Format: https://cocodataset.org/#format-data)
"""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from functools import reduce
from itertools import islice
from operator import or_
from pathlib import Path
from typing import Any, NamedTuple

from stages import UserError
from stages.ingest import naming
from stages.ingest.sources import Row, Unreadable, joined, plain_path, read_text
from stages.params import Section

MAY_LACK = ("captions", "validation", "validation_captions", "test")

Key = int | str
Items = list[dict[str, Any]]


class Options(Section):
    instances: str
    captions: str | None
    photos: str
    validation: str | None
    validation_captions: str | None
    validation_photos: str | None
    test: str | None
    test_photos: str | None


class _File(NamedTuple):
    """A file that lists images, and what it says of them."""

    name: str
    folder: str
    subset: str
    part: str | None
    images: Items
    categories: dict[Key, str]
    annotations: Items | None  # None: labels are not known


class _Labels(NamedTuple):
    """The labels of a file's images by id; the photos and annotations that have to be set aside."""

    by_image: dict[Key, tuple[str, ...]]
    refused: dict[Key, Unreadable]
    unlisted: list[Unreadable]


def rows(root: Path, options: Options) -> Iterator[Row | Unreadable]:
    files = _files(root, options)
    captions: dict[Key, list[str]] = defaultdict(list)
    if given := [each for each in (options.captions, options.validation_captions) if each]:
        ids = _all_ids(root, files)
        for name in given:
            yield from _add_captions(captions, root, name, ids)
    for file in files:
        labels = _labels(root, file)
        yield from labels.unlisted
        for number, image in enumerate(file.images, 1):
            if not _is_image(image):
                yield Unreadable(file.name, number, "an image without id or file_name")
                continue
            photo, id = joined(file.folder, image["file_name"]), _key(image, "id")
            assert id is not None
            if id in labels.refused:
                yield labels.refused[id]._replace(photo=photo)
                continue
            yield Row(
                file=file.name,
                row=number,
                id=image["file_name"],
                photo=photo,
                subset=file.subset,
                labels=None if file.annotations is None else list(labels.by_image.get(id, ())),
                caption="\n".join(captions.get(id, ())) or None,
                part=file.part,
            )


def _files(root: Path, options: Options) -> list[_File]:
    part = "train" if options.validation else None
    files = [_file(root, options.instances, options.photos, "train", part)]
    if options.validation:
        folder = options.validation_photos or options.photos
        files.append(_file(root, options.validation, folder, "train", "validation"))
    if options.test:
        folder = options.test_photos or options.photos
        files.append(_file(root, options.test, folder, "test", None))
    return files


def _file(root: Path, name: str, folder: str, subset: str, part: str | None) -> _File:
    content = _read(root, name)
    images = _items(root / name, content, "images")
    _check_images(root / name, images)
    if subset == "test" and not content.get("annotations"):
        return _File(name, folder, subset, part, images, {}, None)
    annotations = _items(root / name, content, "annotations")
    categories = _category_names(
        root / name, _items(root / name, content, "categories"), annotations
    )
    return _File(name, folder, subset, part, images, categories, annotations)


def _labels(root: Path, file: _File) -> _Labels:
    """What the annotations of ``file`` say of its images.

    Raises:
        UserError: no annotation of a category is of an image that is listed.
    """
    labels = _Labels({}, {}, [])
    # As bits of a number, by category: quicker to put together than lists, and as good to keep.
    names = {1 << at: name for at, name in enumerate(sorted(set(file.categories.values())))}
    bit_of = {name: bit for bit, name in names.items()}
    bits = {id: bit_of[name] for id, name in file.categories.items()}
    ids = (_key(image, "id") for image in file.images)
    carried = {id: 0 for id in ids if id is not None}
    strange: dict[Key | None, dict[Key | None, None]] = defaultdict(dict)  # their images, if not
    seen: set[Key] = set()
    for number, annotation in enumerate(file.annotations or (), 1):
        image = _key(annotation, "image_id")
        if image is None or image not in carried:
            if image is None or image not in seen:
                reason = "an annotation of an image not listed"
                labels.unlisted.append(Unreadable(file.name, number, reason))
            if image is not None:
                seen.add(image)
            for category in _categories(annotation):
                strange[category][image] = None
            continue
        for category in _categories(annotation):
            if category in bits:
                carried[image] |= bits[category]
            else:
                reason = f"an annotation of category {category!r}, which is not listed"
                labels.refused.setdefault(image, Unreadable(file.name, number, reason))
    lists = {each: tuple(map(names.__getitem__, _bits(each))) for each in {*carried.values()}}
    labels.by_image.update((image, lists[each]) for image, each in carried.items() if each)
    every = reduce(or_, lists, 0)
    lost = next((id for id, bit in bits.items() if id in strange and not bit & every), None)
    if lost is not None and carried:
        raise UserError(
            f"{root / file.name}: no annotation of category {file.categories[lost]!r} is of an "
            f"image that is listed there; their image_id is {_some(strange[lost])}, the images' "
            f"id is {_some(image.get('id') for image in file.images)}"
        )
    return labels


def _bits(number: int) -> Iterator[int]:
    """Those of a number, the lowest first, each as a number."""
    while number:
        lowest = number & -number
        yield lowest
        number ^= lowest


def _categories(annotation: dict[str, Any]) -> list[Key | None]:
    """The category of an instance, or those of a panoptic annotation's segments."""
    segments = annotation.get("segments_info")
    if not isinstance(segments, list):
        return [_key(annotation, "category_id")]
    return [_key(each, "category_id") if isinstance(each, dict) else None for each in segments]


def _add_captions(
    captions: dict[Key, list[str]], root: Path, file: str, ids: Collection[Key]
) -> Iterator[Unreadable]:
    """Adds the captions in ``file`` to those of their images; yields what is no caption of one.

    Raises:
        UserError: none is of an image that is listed.
    """
    annotations = _items(root / file, _read(root, file), "annotations")
    unlisted = 0
    for number, annotation in enumerate(annotations, 1):
        image = _key(annotation, "image_id")
        if image is None or image not in ids:
            unlisted += 1
            reason = "a caption of an image not listed"
            yield Unreadable(file, number, reason, costs_photo=False)
        elif not isinstance(annotation.get("caption"), str):
            yield Unreadable(file, number, "a caption without text", costs_photo=False)
        else:
            captions[image].append(annotation["caption"].strip())
    if unlisted and unlisted == len(annotations):
        raise UserError(
            f"{root / file}: no caption is of an image that is listed; their image_id is "
            f"{_some(each.get('image_id') for each in annotations)}, the images' id is {_some(ids)}"
        )


def _all_ids(root: Path, files: list[_File]) -> dict[Key, str]:
    """The ids of all images, and the files that list them.

    Raises:
        UserError: two files have one for different images.
    """
    first: dict[Key, str] = {}
    for file in files:
        for image in file.images:
            id = _key(image, "id")
            if id is not None and first.setdefault(id, file.name) != file.name:
                raise UserError(
                    f"{root / first[id]} and {root / file.name} both have an image of id {id}, so "
                    "a caption could be of either; number the images anew"
                )
    return first


def _is_image(image: dict[str, Any]) -> bool:
    return _key(image, "id") is not None and isinstance(image.get("file_name"), str)


def _key(item: dict[str, Any], name: str) -> Key | None:
    """An id, which a table that was turned into JSON may have as 7.0."""
    value = item.get(name)
    if type(value) is int:  # nearly always
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int | str) else None


def _check_images(path: Path, images: Items) -> None:
    """Raises a ``UserError`` where two images have one id, or one photo."""
    ids: dict[Key | None, str] = {}
    photos: dict[str, Key | None] = {}
    for image in filter(_is_image, images):
        name, id = image["file_name"], _key(image, "id")
        if id in ids:
            raise UserError(
                f"{path}: two images have the id {id!r}: {ids[id]} and {name}; an annotation could "
                "be of either"
            )
        photo = plain_path(name)
        if photo in photos:
            raise UserError(
                f"{path}: the images of id {photos[photo]!r} and {id!r} are one photo, {name}; "
                "give it one id"
            )
        ids[id], photos[photo] = name, id


def _category_names(path: Path, categories: Items, annotations: Items) -> dict[Key, str]:
    """The names of the categories by their ids.

    Raises:
        UserError: one has no id or no name, two have one id, or two that are used have one name.
    """
    names: dict[Key, str] = {}
    for number, category in enumerate(categories, 1):
        id, name = _key(category, "id"), category.get("name")
        if id is None or not isinstance(name, str):
            raise UserError(f"{path}: category {number} has no id or no name")
        if id in names:
            raise UserError(f"{path}: two categories have the id {id!r}: {names[id]} and {name}")
        names[id] = name
    naming.check(names.values(), f"{path}, its categories")
    if len(set(names.values())) < len(names):
        used = {id for annotation in annotations for id in _categories(annotation)}
        by_name: dict[str, Key] = {}
        for id, name in names.items():
            other = by_name.setdefault(name, id) if id in used else id
            if other != id:
                raise UserError(
                    f"{path}: the categories {other!r} and {id!r} are both named {name!r}; give "
                    "each a name of its own, or both one id"
                )
    return names


def _some(values: Iterable[Any]) -> str:
    first = list(islice(dict.fromkeys(map(repr, values)), 4))
    return ", ".join(first[:3]) + (", …" if len(first) > 3 else "")


def _read(root: Path, file: str) -> dict[str, Any]:
    try:
        content = json.loads(read_text(root, file))
    except json.JSONDecodeError as error:
        raise UserError(f"{root / file} is not JSON: {error}") from error
    return content if isinstance(content, dict) else {}


def _items(path: Path, content: dict[str, Any], key: str) -> Items:
    values = content.get(key)
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise UserError(f"{path} has no list {key!r} of objects, as COCO's files of this kind do")
    return values

"""``yolo``: the layout of Ultralytics' YOLO: ``data.yaml``, photos, a text file of boxes for each.

A photo's labels are the classes of its boxes (or outlines, or key points). The text file's path is
the photo's with the last ``/images/`` replaced by ``/labels/``, and ``.txt``. A photo whose file
is empty or missing is known to have no label; but where a folder holds text files of photos that
are not there, a name may be misspelt, so that a missing file says nothing. Photos of test have
unknown labels where none of them has a text file.
(Format: https://docs.ultralytics.com/datasets/detect/)
"""

import os
import posixpath
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from ruamel.yaml import YAML, YAMLError

from stages import UserError
from stages.ingest.sources import Row, Unreadable, read_text
from stages.params import Section

# The keys of data.yaml (the latter is renamed to the former there, too), subset and part.
SETS = (
    (("train",), "train", "train"),
    (("val", "validation"), "train", "validation"),
    (("test",), "test", None),
)
NO_PHOTOS = (".txt", ".npy", ".cache")  # what lies beside photos: labels, and what training keeps
NO_LABELS = "classes.txt"  # that annotation tools write beside the others
FEWEST = 5  # numbers of a line: the class and a box


class Options(Section):
    data: str


class _Photo(NamedTuple):
    """A photo and its text file, paths below the root; what it means that this is missing."""

    path: str
    boxes: str
    missing_is_none: bool


def rows(root: Path, options: Options) -> Iterator[Row | Unreadable]:
    content = _content(root, options.data)
    names = _names(root / options.data, content)
    places = {}
    for keys, subset, part in SETS:
        listed = next((content[key] for key in keys if content.get(key)), [])
        entries = [listed] if isinstance(listed, str) else listed
        places[subset, part] = [_place(root, options.data, content, each) for each in entries]
    if not places["train", "train"]:
        raise UserError(f"{root / options.data} has no entry train, the photos to learn from")
    if places["train", "validation"] == places["train", "train"]:  # as in coco128.yaml
        places["train", "validation"] = []
    for (subset, part), folders in places.items():
        if folders:
            given = part if places["train", "validation"] else None
            yield from _rows(root, folders, names, subset, given)


def _rows(
    root: Path, places: list[str], names: dict[int, str], subset: str, part: str | None
) -> Iterator[Row | Unreadable]:
    listed = (each for place in places for each in _photos(root, place))
    photos = (each for each in listed if isinstance(each, _Photo))
    first = next(photos, None)
    if first is None:
        raise UserError(f"{root / places[0]} holds no photo")
    is_known = (root / first.boxes).is_file() or any(
        (root / each.boxes).is_file() for each in photos
    )
    if not is_known and subset == "train":
        raise UserError(
            f"no photo of {root / places[0]} has a text file of boxes; that of {first.path} would "
            f"be {root / first.boxes}"
        )
    number = 0
    for place in places:
        for each in _photos(root, place):
            if isinstance(each, Unreadable):
                yield each
                continue
            number += 1
            labels = _labels(root, each, names) if is_known else None
            if isinstance(labels, Unreadable):
                yield labels
            else:
                yield Row(place, number, each.path, each.path, subset, labels, None, part=part)


def _content(root: Path, file: str) -> dict[str, Any]:
    try:
        content = YAML(typ="safe", pure=True).load(read_text(root, file))
    except YAMLError as error:
        raise UserError(f"{root / file} is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{root / file} must hold names, train and val")
    return content


def _names(path: Path, content: dict[str, Any]) -> dict[int, str]:
    """The names of the classes by their numbers.

    Raises:
        UserError: there are none, one is no name, two are the same, or ``nc`` is another number.
    """
    given = content.get("names")
    names = dict(enumerate(given)) if isinstance(given, list) else given
    if not isinstance(names, dict) or not names:
        raise UserError(f"{path} has no names of classes: a list, or names by their numbers")
    numbers: dict[str, int] = {}
    for number, name in names.items():
        if type(number) is not int or number < 0 or type(name) not in (str, int, float):
            raise UserError(f"{path}: names has {number!r}: {name!r}, which is no number and name")
        if (other := numbers.setdefault(str(name), number)) != number:
            raise UserError(
                f"{path}: the classes {other} and {number} are both named {name!r}; give each a "
                "name of its own"
            )
    if content.get("nc", len(names)) != len(names):
        raise UserError(f"{path}: nc is {content['nc']}, but names has {len(names)} classes")
    return {number: name for name, number in numbers.items()}


def _place(root: Path, data: str, content: dict[str, Any], entry: Any) -> str:
    """The folder or list of photos that ``entry`` names, as a path below the root.

    Relative ones are below ``path`` or beside ``data.yaml``; a ``../`` too much is left out, as
    Ultralytics does.

    Raises:
        UserError: it is not there, or not below the root.
    """
    if not isinstance(entry, str):
        raise UserError(f"{root / data}: {entry!r} names no folder and no list of photos")
    beside, name = posixpath.dirname(data), entry.replace("\\", "/")
    inner = [str(content["path"]).replace("\\", "/")] if content.get("path") else []
    for folder in (*inner, ""):
        for tail in (name, name.removeprefix("../")):
            place = _below(root, posixpath.join(beside, folder, tail))
            if place is not None and (root / place).exists():
                return place
    raise UserError(
        f"{root / data} names {entry}, which is not below {root}; correct train, val, test or path "
        "there"
    )


def _below(root: Path, path: str) -> str | None:
    """``path``, below the root or absolute, as one below the root; None where it is elsewhere."""
    if posixpath.isabs(path):
        try:
            path = Path(os.path.abspath(path)).relative_to(os.path.abspath(root)).as_posix()
        except ValueError:
            return None
    path = posixpath.normpath(path)
    return None if path.split("/")[0] == ".." else path


def _photos(root: Path, place: str) -> Iterator[_Photo | Unreadable]:
    if not (root / place).is_dir():
        yield from _listed(root, place)
        return
    for folder, folders, files in os.walk(root / place):
        folders[:] = sorted(each for each in folders if each[0] != ".")
        inside = Path(folder).relative_to(root)
        names = [each for each in files if each[0] != "." and not each.endswith(NO_PHOTOS)]
        photos = {(inside / name).as_posix(): "" for name in sorted(names)}
        for path in photos:
            photos[path] = _boxes(path)
        without_photo = _texts(root, set(photos.values())) if photos else []
        yield from (
            Unreadable(file, 1, "boxes of a photo that is missing") for file in without_photo
        )
        for path, boxes in photos.items():
            yield _Photo(path, boxes, missing_is_none=not without_photo)


def _texts(root: Path, expected: set[str]) -> list[str]:
    """The text files that lie beside the expected ones, and are none of them."""
    folder = posixpath.dirname(next(iter(expected)))
    try:
        names = sorted(os.listdir(root / folder))
    except OSError:
        return []
    files = (posixpath.join(folder, name) for name in names if name.endswith(".txt"))
    return [
        file for file in files if file not in expected and posixpath.basename(file) != NO_LABELS
    ]


def _listed(root: Path, file: str) -> Iterator[_Photo]:
    """The photos that a text file lists, a path a line."""
    beside = posixpath.dirname(file)
    folders: list[str] = []
    for line in read_text(root, file).splitlines():
        if path := line.strip().replace("\\", "/"):
            # Beside the list; as others write them, from the root.
            paths = [_below(root, posixpath.join(folder, path)) for folder in (beside, "")]
            there = [each or "" for each in paths]
            if not folders:
                folders = [
                    str(number) for number, each in enumerate(there) if (root / each).is_file()
                ]
            photo = there[int(folders[0])] if folders else there[0]
            yield _Photo(photo or path, _boxes(photo or path), missing_is_none=True)


def _boxes(photo: str) -> str:
    """The path of the text file of ``photo``."""
    before, images, after = f"/{photo}".rpartition("/images/")
    path = f"{before}/labels/{after}" if images else after
    return PurePath(path.lstrip("/")).with_suffix(".txt").as_posix()


def _labels(root: Path, photo: _Photo, names: dict[int, str]) -> list[str] | Unreadable | None:
    """The labels of ``photo``; None where they are not known."""
    try:
        text = (root / photo.boxes).read_text("utf-8-sig")
    except FileNotFoundError:
        return [] if photo.missing_is_none else None
    except UnicodeDecodeError:
        return Unreadable(photo.boxes, 1, "its boxes are not UTF-8 text", photo.path)
    except OSError as error:
        return Unreadable(photo.boxes, 1, f"its boxes cannot be read: {error.strerror}", photo.path)
    labels = set()
    for number, line in enumerate(text.splitlines(), 1):
        if not (cells := line.split()):
            continue
        try:
            name = names.get(number_of_class := int(float(cells[0])))
            is_box = number_of_class == float(cells[0]) and len(cells) >= FEWEST
        except (ValueError, OverflowError):
            is_box = False
        if not is_box:
            reason = "boxes with a line that is no class and four or more numbers"
            return Unreadable(photo.boxes, number, reason, photo.path)
        if name is None:
            reason = f"a box of class {number_of_class}, which names does not have"
            return Unreadable(photo.boxes, number, reason, photo.path)
        labels.add(name)
    return sorted(labels)

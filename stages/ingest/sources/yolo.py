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
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML, YAMLError

from stages import UserError
from stages.ingest import naming
from stages.ingest.sources import (
    Row,
    Unreadable,
    levels,
    link_not_followed,
    plain_path,
    read_text,
)
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
    """A photo and its text file, paths below the root.

    Attributes:
        row: its place in the folder, or its line in the list of photos.
        missing_is_none: whether it has no label where the text file is missing.
    """

    row: int
    path: str
    boxes: str
    missing_is_none: bool


def rows(root: Path, options: Options) -> Iterator[Row | Unreadable]:
    content = _content(root, options.data)
    names = _names(root / options.data, content)
    places: dict[tuple[str, str | None], list[str]] = {}
    for keys, subset, part in SETS:
        listed: Any = next((content[key] for key in keys if content.get(key)), [])
        found = [
            _place(root, options.data, content, entry)
            for entry in (listed if isinstance(listed, list) else [listed])
        ]
        # Some name photos twice, as coco128.yaml does for want of others to validate on.
        before = {place for others in places.values() for place in others}
        places[subset, part] = [place for place in found if place not in before]
    if not places["train", "train"]:
        raise UserError(f"{root / options.data} has no entry train, the photos to learn from")
    for (subset, part), folders in places.items():
        if folders:
            given = part if places["train", "validation"] else None
            yield from _rows(root, folders, names, subset, given)


def _rows(
    root: Path, places: list[str], names: dict[int, str], subset: str, part: str | None
) -> Iterator[Row | Unreadable]:
    all_of_them = (each for place in places for each in _photos(root, place))
    is_known = any(isinstance(each, _Photo) and _has_boxes(root, each) for each in all_of_them)
    photo = None
    for place in places:
        for each in _photos(root, place):
            if isinstance(each, Unreadable):
                yield each
                continue
            photo = each
            labels = _labels(root, photo, names) if is_known else None
            if isinstance(labels, Unreadable):
                yield labels
            else:
                yield Row(place, photo.row, photo.path, photo.path, subset, labels, None, part=part)
    if photo is None:
        raise UserError(f"{root / places[0]} holds no photo")
    if not is_known and subset == "train":
        raise UserError(
            f"no photo of {root / places[0]} has a text file of boxes; that of {photo.path} would "
            f"be {root / photo.boxes}"
        )


def _has_boxes(root: Path, photo: _Photo) -> bool:
    return (root / photo.boxes).is_file()


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
    naming.check(numbers, f"{path}, names")
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
    row = 0
    for level in levels(root, place):
        yield from (link_not_followed(level, name) for name in level.links)
        names = (name for name in level.files if not name.endswith(NO_PHOTOS))
        paths = [plain_path(f"{level.folder}/{name}") for name in names]
        boxes = [_boxes(path) for path in paths]
        alone = _without_photo(root, boxes) if boxes else []
        reason = "boxes of a photo that is not there"
        yield from (Unreadable(file, 1, reason) for file in alone)
        for path, file in zip(paths, boxes, strict=True):
            row += 1
            yield _Photo(row, path, file, missing_is_none=not alone)


def _without_photo(root: Path, boxes: list[str]) -> list[str]:
    """The text files in the folder of ``boxes`` that are not among these."""
    folder = posixpath.dirname(boxes[0])
    try:
        names = os.listdir(root / folder)
    except OSError:
        return []
    files = {posixpath.join(folder, name) for name in names if name.endswith(".txt")}
    return sorted(files - {*boxes, posixpath.join(folder, NO_LABELS)})


def _listed(root: Path, file: str) -> Iterator[_Photo | Unreadable]:
    """The photos that a text file lists, a path a line: beside it, or as some write, below root."""
    folder = None
    for row, line in enumerate(read_text(root, file).splitlines(), 1):
        if not (path := line.strip().replace("\\", "/")):
            continue
        if folder is None:
            beside = posixpath.dirname(file)
            is_beside = (root / beside / path).exists() or not (root / path).exists()
            folder = beside if is_beside else ""
        photo = _below(root, posixpath.join(folder, path))
        if photo is None:
            yield Unreadable(file, row, "its path leaves ingest.root", line.strip())
        else:
            yield _Photo(row, photo, _boxes(photo), missing_is_none=True)


def _boxes(photo: str) -> str:
    """The path of the text file of ``photo``."""
    before, images, after = f"/{photo}".rpartition("/images/")
    path = f"{before}/labels/{after}" if images else after
    return f"{posixpath.splitext(path)[0][1:]}.txt"


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
        which = _class(cells)
        if which is None:
            reason = "boxes with a line that is no class and four or more numbers"
            return Unreadable(photo.boxes, number, reason, photo.path)
        if which not in names:
            reason = f"a box of class {which}, which data.yaml does not name"
            return Unreadable(photo.boxes, number, reason, photo.path)
        labels.add(names[which])
    return sorted(labels)


def _class(cells: list[str]) -> int | None:
    """The number of the class, which some write as 2.0; None where this is no box."""
    try:
        which = float(cells[0])
    except ValueError:
        return None
    return int(which) if len(cells) >= FEWEST and which.is_integer() else None

"""``pascal-voc``: Pascal VOC: XML files, or lists of a class's photos with 1, 0 or -1.

A photo's labels are the names of its objects. A label whose objects all are difficult, 0 in a
list, is not known, and neither is one whose list does not name the photo. Photos are those that
``sets`` lists: ``train.txt``, ``val.txt`` and ``test.txt``, or ``trainval.txt``; without ``sets``,
all that are there. Further folders may hold photos, with their XML files beside them, that validate
or test. What is not annotated is set aside, but for photos of test, of which nothing is known.
(Format: http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/)
"""

from collections import defaultdict
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple, NoReturn
from xml.etree import ElementTree

from stages import UserError
from stages.ingest import naming
from stages.ingest.records import in_natural_order
from stages.ingest.sources import Row, Unreadable, below, photo_files, read_text
from stages.params import Section

MAY_LACK = ("sets", "validation", "test")

SETS = ("train", "val", "trainval", "test", "default")  # the last one is CVAT's
THERE, UNKNOWN, ABSENT = VALUES = ("1", "0", "-1")  # 0: those that are there are difficult


class Options(Section):
    annotations: str | None
    photos: str
    sets: str | None
    validation: str | None
    test: str | None


class _Set(NamedTuple):
    """Photos that are listed together.

    Attributes:
        ids: of its photos, with the file and the line that list each.
        lists: the lists of its classes, by class.
    """

    subset: str
    part: str | None
    ids: dict[str, tuple[str, int]]
    lists: dict[str, str]


class _Labels(NamedTuple):
    """The labels that a photo has, None where they are not known, and those that it may have."""

    names: tuple[str, ...] | None
    unknown: tuple[str, ...] = ()


def rows(root: Path, options: Options) -> Iterator[Row | Unreadable]:
    if options.sets is None and options.annotations is None:
        raise UserError(
            "ingest.pascal-voc.annotations and ingest.pascal-voc.sets are both null; one of them "
            "names the labels"
        )
    part = "train" if options.validation else None
    yield from _rows(root, options, "train", part)
    for folder, subset, name in (
        (options.validation, "train", "validation"),
        (options.test, "test", None),
    ):
        if folder:
            beside = {"annotations": folder, "photos": folder, "sets": None}
            listed = _rows(root, options.model_copy(update=beside), subset, name)
            # Many number their photos anew in each folder.
            for row in listed:
                yield row._replace(id=f"{folder}/{row.id}") if isinstance(row, Row) else row


def _rows(
    root: Path, options: Options, subset: str, part: str | None
) -> Iterator[Row | Unreadable]:
    files: dict[str, str] = {}  # of photos, by id
    for number, name in enumerate(photo_files(root, options.photos), 1):
        if _is_xml(name):
            continue  # beside the photos
        if files.setdefault(Path(name).stem, name) != name:
            reason = "another photo has its name, but for the ending"
            yield Unreadable(options.photos, number, reason, f"{options.photos}/{name}")
    if options.sets is None:
        sets = [_all(root, options, files)._replace(subset=subset, part=part)]
    else:
        sets = _sets(root, options.sets)
    classes = {name for each in sets for name in each.lists}
    naming.check(classes, f"{root / (options.sets or '')}, its lists of classes")
    for each in sets:
        of_lists: dict[str, _Labels | Unreadable] = {}
        if options.annotations is None:
            of_lists, unlisted = _of_lists(root, each, classes, files)
            yield from unlisted
        for id, (file, line) in each.ids.items():
            photo = f"{options.photos}/{files.get(id, f'{id}.jpg')}"
            labels = of_lists.get(id) or _of_xml(root, options, id, each.subset)
            if isinstance(labels, Unreadable):
                yield labels._replace(photo=photo)
                continue
            yield Row(
                file=file,
                row=line,
                id=id,
                photo=photo,
                subset=each.subset,
                labels=None if labels.names is None else list(labels.names),
                caption=None,
                unknown=labels.unknown,
                part=each.part,
            )


def _is_xml(name: str) -> bool:
    return name.endswith(".xml")


def _all(root: Path, options: Options, files: dict[str, str]) -> _Set:
    """Every photo, and every one that has an annotation."""
    folder = str(options.annotations)
    names = photo_files(root, folder)
    annotated = [Path(name).stem for name in names if _is_xml(name)]
    ids = in_natural_order({*annotated, *files})
    return _Set("train", None, {id: (f"{folder}/{id}.xml", 1) for id in ids}, {})


def _sets(root: Path, folder: str) -> list[_Set]:
    """The sets of photos that are listed in ``folder``.

    Raises:
        UserError: there is none.
    """
    found: dict[str, dict[str, str]] = defaultdict(dict)  # files, by set and class
    for name in photo_files(root, folder):
        label, _, which = name.removesuffix(".txt").rpartition("_")
        if name.endswith(".txt") and which in SETS:
            found[which][label] = f"{folder}/{name}"
    chosen: dict[str, str | None] = {}
    if "train" in found and "val" in found:
        chosen = {"train": "train", "val": "validation"}
    else:
        one = (name for name in ("trainval", "train", "val", "default") if name in found)
        chosen = dict.fromkeys(islice(one, 1))
    if not chosen:
        raise UserError(
            f"{root / folder} lists no photos: it has neither train.txt nor trainval.txt, nor "
            "lists of a class such as cat_train.txt"
        )
    sets = [_set(root, found[name], "train", part) for name, part in chosen.items()]
    return [*sets, _set(root, found["test"], "test", None)] if "test" in found else sets


def _set(root: Path, files: dict[str, str], subset: str, part: str | None) -> _Set:
    lists = {label: file for label, file in files.items() if label}
    ids: dict[str, tuple[str, int]] = {}
    for file in [files[""]] if "" in files else lists.values():
        for line, cells in _lines(root, file):
            ids.setdefault(cells[0], (file, line))
    return _Set(subset, part, ids, lists)


def _lines(root: Path, file: str) -> Iterator[tuple[int, list[str]]]:
    for line, text in enumerate(read_text(root, file).splitlines(), 1):
        if cells := text.split():
            yield line, cells


def _of_lists(
    root: Path, photos: _Set, classes: set[str], files: dict[str, str]
) -> tuple[dict[str, _Labels | Unreadable], list[Unreadable]]:
    """The labels of each photo by the lists of classes; what they say of other photos.

    Raises:
        UserError: there are none, or one names no photo that is there.
    """
    if not photos.lists and photos.subset == "train":
        file, _ = next(iter(photos.ids.values()), ("", 0))
        raise UserError(
            f"{root / file} has no lists of classes beside it, such as cat_train.txt; name the "
            "folder of XML files in ingest.pascal-voc.annotations"
        )
    if not photos.lists:
        return dict.fromkeys(photos.ids, _Labels(None)), []
    labels: dict[str, _Labels | Unreadable] = dict.fromkeys(photos.ids, _Labels(()))
    unlisted: dict[str, Unreadable] = {}
    for name in sorted(classes):
        file = photos.lists.get(name, "")
        values: dict[str, str] = {}
        first = None
        for line, cells in _lines(root, file) if file else ():
            id = cells[0]
            first = first or id
            value = cells[1] if len(cells) == 2 else ""
            if id not in labels:
                reason = "a class's list has a photo that its set does not have"
                unlisted.setdefault(id, Unreadable(file, line, reason))
            elif values.setdefault(id, value) != value:
                reason = "a class's list has it twice, with different values"
                labels[id] = Unreadable(file, line, reason)
            elif value not in VALUES:
                reason = "a class's list has a line that is not an id and 1, 0 or -1"
                labels[id] = Unreadable(file, line, reason)
        if first and files.keys().isdisjoint(values):
            raise UserError(
                f"{root / file} names no photo that is there; its ids are such as {first!r}, those "
                f"of the photos such as {min(files, default='')!r}"
            )
        once: dict[tuple[_Labels, str], _Labels] = {}  # few are as many as the photos
        values |= dict.fromkeys(labels.keys() - values.keys(), UNKNOWN)
        for id, value in values.items():
            if value != ABSENT and isinstance(known := labels[id], _Labels):
                labels[id] = once.setdefault((known, value), _with(known, name, value))
    return labels, [*unlisted.values()]


def _with(labels: _Labels, name: str, value: str) -> _Labels:
    if value == THERE:
        return _Labels((*(labels.names or ()), name), labels.unknown)
    return _Labels(labels.names, (*labels.unknown, name))


def _of_xml(root: Path, options: Options, id: str, subset: str) -> _Labels | Unreadable:
    file = f"{options.annotations}/{id}.xml"
    try:
        content = below(root, file).read_bytes()
        tree = ElementTree.fromstring(content, ElementTree.XMLParser(target=WithoutDocumentType()))
    except FileNotFoundError:
        if subset == "test":
            return _Labels(None)
        return Unreadable(file, 1, "there is no annotation of it")
    except OSError as error:
        return Unreadable(file, 1, f"its annotation cannot be read: {error.strerror}")
    except (ElementTree.ParseError, ValueError, LookupError):  # the last: an unknown encoding
        return Unreadable(file, 1, "its annotation is not XML, or has a document type")
    difficult: dict[str, bool] = {}
    for item in tree.iterfind("object"):
        name = (item.findtext("name") or "").strip()
        is_difficult = (item.findtext("difficult") or "").strip() == "1"
        difficult[name] = difficult.get(name, True) and is_difficult
    if tree.tag != "annotation" or "" in difficult:
        return Unreadable(file, 1, "it has no <annotation>, or there an <object> without <name>")
    names = sorted(difficult)
    return _Labels(
        tuple(name for name in names if not difficult[name]),
        tuple(name for name in names if difficult[name]),
    )


class WithoutDocumentType(ElementTree.TreeBuilder):
    """No annotation needs a document type; a hostile one has entities that fill the memory."""

    def doctype(self, *_: object) -> NoReturn:
        raise ValueError("a document type")

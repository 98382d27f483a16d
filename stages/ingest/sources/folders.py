"""``folders``: a folder of folders, each named after a label, of photos.

A photo that lies in several of them has all their labels. It is one photo where they hold links to
one file, symbolic or hard, or files of the same name (below the label's folder) and the same
bytes; files of the same name alone are not, since many number their photos anew for each label.
Its id is its path in the first of the folders. Photos of test that lie in no such folder have
unknown labels.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from stages import UserError
from stages.ingest import naming, packed
from stages.ingest.images import UnreadablePhoto
from stages.ingest.sources import (
    Row,
    Unreadable,
    below,
    levels,
    link_not_followed,
    plain_path,
)
from stages.params import Section

MAY_LACK = ("validation", "test")
PARTS = {"train", "training", "val", "valid", "validation", "test", "testing"}

FILES = pl.Schema(
    {
        "label": pl.String(),
        "name": pl.String(),  # below the label's folder
        "path": pl.String(),  # below the root
        # Of what it leads to.
        "device": pl.Int128(),
        "inode": pl.Int128(),
        "bytes": pl.Int64(),
    }
)


class Options(Section):
    photos: str
    validation: str | None
    test: str | None


def rows(root: Path, options: Options) -> Iterator[Row | Unreadable]:
    part = "train" if options.validation else None
    yield from _rows(root, options.photos, "train", part)
    if options.validation:
        yield from _rows(root, options.validation, "train", "validation")
    if options.test:
        yield from _rows(root, options.test, "test", None)


def _rows(root: Path, folder: str, subset: str, part: str | None) -> Iterator[Row | Unreadable]:
    folders, loose = _listed(root, folder)
    if subset == "train":
        _check_labels(root / folder, folders)
        reason = "it lies in no folder that is named after a label"
        yield from (
            Unreadable(folder, number, reason, f"{folder}/{name}")
            for number, name in enumerate(loose, 1)
        )
        loose = []
    files = []
    for label in folders:
        top = plain_path(f"{folder}/{label}")
        for level in levels(root, top):
            yield from (link_not_followed(level, name) for name in level.links)
            paths = (f"{level.folder}/{name}" for name in level.files)
            files += [(label, path.removeprefix(top), path) for path in paths]
    for number, (path, labels) in enumerate(_photos(root, files), 1):
        yield Row(folder, number, path, path, subset, labels, None, part=part)
    for number, name in enumerate(loose, 1):
        yield Row(folder, number, f"{folder}/{name}", f"{folder}/{name}", subset, None, None)


def _listed(root: Path, folder: str) -> tuple[list[str], list[str]]:
    """Names of the folders and of the files in ``folder``, without hidden ones."""
    if not below(root, folder).is_dir():
        raise UserError(f"{root / folder} is no folder (ingest.root is {root})")
    entries = sorted(each for each in (root / folder).iterdir() if each.name[0] != ".")
    folders = [each.name for each in entries if each.is_dir()]
    return folders, [each.name for each in entries if not each.is_dir()]


def _check_labels(folder: Path, labels: list[str]) -> None:
    if not labels:
        raise UserError(f"{folder} holds no folder that is named after a label")
    naming.check(labels, f"{folder}, a folder a label")
    if len(labels) > 1 and PARTS.issuperset(label.lower() for label in labels):
        raise UserError(
            f"{folder} holds the folders {', '.join(labels)}, which are parts and no labels; name "
            "them in ingest.folders.photos, ingest.folders.validation and ingest.folders.test"
        )


def _photos(root: Path, files: list[tuple[str, str, str]]) -> Iterator[tuple[str, list[str]]]:
    """Each photo's first path, and its labels."""
    states = [_state(f"{root}/{path}", number) for number, (*_, path) in enumerate(files)]
    columns = [*zip(*files, strict=True), *zip(*states, strict=True)]
    table = (
        pl.DataFrame(columns, FILES, orient="col")
        .group_by("device", "inode", maintain_order=True)
        .agg("label", pl.col("name").unique(), pl.col("path", "bytes").first())
        .with_row_index("file")
    )
    alike = table.explode("name").filter(pl.struct("name", "bytes").is_duplicated())
    digests = [
        (file, _digest(root / path)) for file, path in alike.select("file", "path").unique().rows()
    ]
    schema = {"file": table.schema["file"], "digest": pl.String()}
    photos = (
        table.join(pl.DataFrame(digests, schema, orient="row"), "file", "left")
        .group_by(pl.coalesce("digest", pl.col("file").cast(pl.String)), maintain_order=True)
        .agg(pl.col("path").first(), "label")
    )
    for path, labels in photos.select("path", "label").iter_rows():
        yield path, sorted({label for of_file in labels for label in of_file})


def _state(path: str, number: int) -> tuple[int, int, int]:
    try:
        state = os.stat(path)
    except OSError:  # a link to nothing: said where photos are opened
        return -1, number, -number
    if not state.st_size and (photo := packed.Packed().find(os.path.realpath(path))):
        return -1, number, photo.place.size  # each is a file of its own
    return state.st_dev, state.st_ino, state.st_size


def _digest(path: Path) -> str | None:
    try:
        if photo := packed.Packed().find(os.path.realpath(path)):
            return hashlib.sha256(packed.read(photo)).hexdigest()
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, UnreadablePhoto):  # it may not be read: said where photos are opened
        return None

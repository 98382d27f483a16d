"""Archives among a source's files, read as folders of their name.

``ingest.table.photos: photos.zip/jpg`` names the folder ``jpg`` in ``photos.zip``. An archive that
an option of the source names is unpacked in the cache folder, and stays there until it changes.
Sources read a folder of links to all that is below the root, where that has the archive's place.
"""

import hashlib
import lzma
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from stages import UserError, printable
from stages.files import alone, cache_folder, whole
from stages.ingest import sources
from stages.ingest.addresses import is_address
from stages.ingest.params import Ingest

ZIP, TAR = (".zip",), (".tar", ".tgz", ".tbz2", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz")
BROKEN = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError),
    *(KeyError, RuntimeError),  # a link to nothing; a password, a kind of packing that is not known
)
LEFT_BY_MACOS = "__MACOSX"


class Member(NamedTuple):
    """A file in an archive; ``size`` in bytes."""

    name: str
    size: int
    open: Callable[[], IO[bytes] | None]


def opened(params: Ingest, folder: Path) -> Ingest:
    """``params`` with a root where the archives that options name are folders.

    Args:
        folder: for the links, which are only for now.

    Raises:
        UserError: an archive cannot be unpacked, or the root itself is one, or an address.
    """
    if is_address(params.root):
        raise UserError(
            f"ingest.root is the address {params.root}; set it to a folder of this machine, with "
            "the files that list the photos, and in the options of the source put the address "
            "before photos"
        )
    root = Path(params.root)
    if root.is_file():
        raise UserError(
            f"ingest.root is a file, {root}; set it to {root.parent}, and in the options of the "
            f"source put the archive before folders and files, as in {root.name}/photos"
        )
    places = ["", *(f"{each}/" for each in sources.deliveries(root, params.deliveries))]
    options = sources.chosen(params)[1].model_dump().values()
    texts = [text for value in options for text in (value if isinstance(value, list) else [value])]
    names = {
        PurePosixPath(archive)
        for text in texts
        if isinstance(text, str)
        for place in places
        for archive in _archives_on(root, f"{place}{text}")
    }
    if not names:
        return params
    _link(root, folder / "root", names)
    return params.model_copy(update={"root": str(folder / "root")})


def place() -> Path:
    """The folder of what has been unpacked."""
    return cache_folder("archives")


def _archives_on(root: Path, path: str) -> Iterator[str]:
    """Yields the archives on the way to ``root/path``, as paths below the root."""
    on_the_way = [PurePosixPath(path), *PurePosixPath(path).parents]
    for each in map(str, on_the_way):
        if each.lower().endswith((*ZIP, *TAR)) and sources.below(root, each).is_file():
            yield each


def _link(real: Path, shown: Path, archives: set[PurePosixPath]) -> None:
    """Makes ``shown``, a folder of links to what is in ``real``, with folders for ``archives``."""
    shown.mkdir()
    for entry in real.iterdir():
        inside = {each.relative_to(entry.name) for each in archives if each.parts[0] == entry.name}
        if not inside:
            (shown / entry.name).symlink_to(entry.absolute())
        elif entry.is_file():
            (shown / entry.name).symlink_to(unpacked(entry))
        else:
            _link(entry, shown / entry.name, inside)


def unpacked(archive: Path) -> Path:
    """The folder with what is in ``archive``; it is unpacked where it has changed.

    Raises:
        UserError: it cannot be, or there is no room.
    """
    state = archive.stat()
    key, now = (
        hashlib.sha256(text.encode()).hexdigest()[:12]
        for text in (str(archive.resolve()), f"{state.st_size} {state.st_mtime_ns}")
    )
    folder = (place() / f"{key}-{now}").absolute()
    with alone(place() / key):
        if not folder.exists():
            for before in place().glob(f"{key}-*"):
                shutil.rmtree(before)
            with whole(folder) as temporary:
                temporary.mkdir()
                print(printable(f"ingest: {archive} is unpacked into {place()}"), flush=True)
                try:
                    _unpack(archive, temporary)
                except BROKEN as error:
                    raise UserError(f"{archive} cannot be unpacked: {error}") from error
    return folder


def _unpack(archive: Path, folder: Path) -> None:
    for member in _members(archive):
        path = PurePosixPath(member.name.replace("\\", "/"))  # as Windows writes them
        if path.is_absolute() or ".." in path.parts or not path.parts:
            raise UserError(f"{archive}: the path of {member.name} leaves the archive")
        if path.parts[0] == LEFT_BY_MACOS:
            continue
        if member.size > shutil.disk_usage(folder).free:
            raise UserError(f"{archive}: there is no room on the disk for {member.name}, unpacked")
        if (content := member.open()) is None:  # a link to a folder
            continue
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        with content, (folder / path).open("wb") as file:
            shutil.copyfileobj(content, file, 1 << 20)


def _members(archive: Path) -> Iterator[Member]:
    """The files in ``archive``; links in a tar are the files that they lead to in it."""
    if archive.name.lower().endswith(ZIP):
        with zipfile.ZipFile(archive) as packed:
            for each in packed.infolist():
                if not each.is_dir():
                    yield Member(each.filename, each.file_size, partial(packed.open, each))
        return
    with tarfile.open(archive) as tape:
        for entry in tape:
            if entry.isfile() or entry.issym() or entry.islnk():
                yield Member(entry.name, entry.size, partial(tape.extractfile, entry))

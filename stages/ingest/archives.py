"""Archives among a source's files, read as folders of their name.

``ingest.table.photos: photos.zip/jpg`` names the folder ``jpg`` in ``photos.zip``. An archive that
an option of the source names, or that is a delivery, is opened in the cache folder, and stays so
until it changes: photos in a zip or an uncompressed tar stay in it (``packed.py``), all else is
unpacked, as are compressed tars, which can only be read from their beginning. Sources read a folder
of links to all that is below the root, where that has the archive's place.
"""

import hashlib
import io
import lzma
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from stages import UserError, printable
from stages.files import alone, whole
from stages.image_formats import suffixes
from stages.ingest import packed, sources
from stages.ingest.addresses import is_address
from stages.ingest.params import Ingest

ZIP = (".zip",)
COMPRESSED = (".tgz", ".tbz2", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz")
TAR = (".tar", *COMPRESSED)
BROKEN = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OverflowError),
    *(KeyError, RuntimeError),  # a link to nothing; a password, a kind of packing that is not known
)
LEFT_BY_MACOS = "__MACOSX"
# Of a zip, what can be read without zipfile, and the flags of what cannot: encrypted, patched.
METHODS = {zipfile.ZIP_STORED: packed.STORED, zipfile.ZIP_DEFLATED: packed.DEFLATED}
FLAGS = 0x1 | 0x20 | 0x40


class Member(NamedTuple):
    """A file in an archive; ``size`` in bytes.

    Attributes:
        place: where it is in the archive, if it can be read there.
    """

    name: str
    size: int
    open: Callable[[], IO[bytes] | None]
    place: packed.Place


@contextmanager
def opened(params: Ingest, folder: Path) -> Iterator[Ingest]:
    """Yields ``params`` with a root where deliveries and what options name are folders.

    What a ``UserError`` of the block says of that root, it says of the user's own.

    Args:
        folder: for the links, which are only for now.

    Raises:
        UserError: an archive cannot be unpacked, or the root itself is one, or an address; or what
            DVC tracks has not been downloaded yet.
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
    _check_is_here(root)
    names = {
        PurePosixPath(each) for path in _named(params, root) for each in _archives_on(root, path)
    }
    delivered = _delivered(root, params.deliveries)
    if not names and not delivered:
        yield params
        return
    shown = folder / "root"
    _link(root, shown, names | delivered, delivered)
    try:
        yield params.model_copy(update={"root": str(shown)})
    except UserError as error:
        raise UserError(str(error).replace(str(shown), str(root))) from error


def _check_is_here(path: Path) -> None:
    tracked = f"{path}.dvc"
    if os.path.isfile(tracked) and not os.path.exists(path):
        raise UserError(f"{path} is not here, but DVC tracks it: dvc pull {tracked}")


def _named(params: Ingest, root: Path) -> Iterator[str]:
    """Yields what options name, below the root and below each delivery; not all are paths."""
    options = sources.chosen(params)[1].model_dump().values()
    texts = [text for value in options for text in (value if isinstance(value, list) else [value])]
    for place in ("", *(f"{each}/" for each in sources.deliveries(root, params.deliveries))):
        yield from (f"{place}{text}" for text in texts if isinstance(text, str))


def _delivered(root: Path, name: str | None) -> set[PurePosixPath]:
    """The archives in the folder of deliveries, as paths below the root, without hidden ones."""
    if name is None or not sources.below(root, name).is_dir():
        return set()
    files = (each.name for each in (root / name).iterdir() if each.is_file())
    return {PurePosixPath(name, each) for each in files if each[0] != "." and _is_archive(each)}


def _is_archive(name: str) -> bool:
    return name.lower().endswith((*ZIP, *TAR))


def _archives_on(root: Path, path: str) -> Iterator[str]:
    """Yields the archives on the way to ``root/path``, a path or a pattern, seen from the root."""
    on_the_way = [PurePosixPath(path), *PurePosixPath(path).parents]
    for each in map(str, on_the_way):
        _check_is_here(root / each)
        if _is_archive(each):
            named = sources.below(root, each)
            found = [named] if named.is_file() else root.glob(each)
            yield from (str(file.relative_to(root)) for file in found if file.is_file())


def _link(
    real: Path, shown: Path, archives: set[PurePosixPath], delivered: set[PurePosixPath]
) -> None:
    """Makes ``shown``, a folder of links to what is in ``real``, with folders for ``archives``.

    Args:
        archives: their paths below ``real``.
        delivered: those of them that are deliveries.
    """
    shown.mkdir()
    for entry in real.iterdir():
        inside, deliveries = (_inside(each, entry.name) for each in (archives, delivered))
        if not inside:
            (shown / entry.name).symlink_to(entry.absolute())
        elif entry.is_file():
            folder = unpacked(entry)
            (shown / entry.name).symlink_to(_own_folder(entry, folder) if deliveries else folder)
        else:
            _link(entry, shown / entry.name, inside, deliveries)


def _inside(paths: set[PurePosixPath], name: str) -> set[PurePosixPath]:
    """Those of the paths that begin with ``name``, without it."""
    return {each.relative_to(name) for each in paths if each.parts[0] == name}


def _own_folder(archive: Path, folder: Path) -> Path:
    """``folder``; where all there is in it is a folder of the archive's name, that."""
    inside = list(folder.iterdir())
    is_alone = len(inside) == 1 and inside[0].is_dir()
    return inside[0] if is_alone and archive.name.startswith(f"{inside[0].name}.") else folder


def unpacked(archive: Path) -> Path:
    """The folder with what is in ``archive``; it is made where the archive has changed.

    Raises:
        UserError: it cannot be, or there is no room.
    """
    status = archive.stat()
    # A new hard link, as DVC makes them, moves ctime: to look through an archive again is quick, to
    # inflate it is not.
    is_slow = archive.name.lower().endswith(COMPRESSED)
    state = packed.version_of(status)[:2] if is_slow else packed.state_of(status)
    key, now = (
        hashlib.sha256(os.fsencode(text)).hexdigest()[:12]
        for text in (str(archive.resolve()), str(state))
    )
    place = packed.place()
    folder = (place / f"{key}-{now}").absolute()
    with alone(place / key):
        if not folder.exists():
            for before in place.glob(f"{key}-*"):
                shutil.rmtree(before)
            with whole(folder) as temporary:
                print(
                    printable(f"ingest: {archive}: what is not read in place is unpacked, {place}"),
                    flush=True,
                )
                try:
                    _unpack(archive, temporary)
                except (OSError, *BROKEN) as error:  # an OSError is also bzip2's
                    raise UserError(f"{archive} cannot be unpacked: {error}") from error
    return folder / packed.FILES


def _unpack(archive: Path, folder: Path) -> None:
    index, files = packed.IndexWriter(folder, archive), folder / packed.FILES
    files.mkdir(parents=True)
    parent = files
    for member in _members(archive):
        path = PurePosixPath(member.name.replace("\\", "/"))  # as Windows writes them
        if path.is_absolute() or ".." in path.parts or not path.parts:
            raise UserError(f"{archive}: the path of {member.name} leaves the archive")
        if path.parts[0] == LEFT_BY_MACOS:
            continue
        is_photo = path.suffix.lower() in suffixes()
        content = None
        if not is_photo or member.place.kind == packed.UNPACKED:
            if member.size > shutil.disk_usage(folder).free:
                raise UserError(f"{archive}: no room on the disk for {member.name}, unpacked")
            if (content := member.open()) is None:  # a link to a folder
                continue
        if (files / path).parent != parent:
            parent = (files / path).parent
            parent.mkdir(parents=True, exist_ok=True)
        (files / path).unlink(missing_ok=True)  # of two of one name the last counts
        if content:
            with content, (files / path).open("wb") as file:
                shutil.copyfileobj(content, file, 1 << 20)
        if is_photo:
            index.add(path, member.place)
    index.write()


def _members(archive: Path) -> Iterator[Member]:
    """The files in ``archive``; links in a tar are the files that they lead to in it."""
    if archive.name.lower().endswith(ZIP):
        with zipfile.ZipFile(archive) as zipped:
            for each in zipped.infolist():
                if not each.is_dir():
                    in_zip = partial(zipped.open, each)
                    yield Member(each.filename, each.file_size, in_zip, _place_in_zip(each))
        return
    with tarfile.open(archive) as tape:
        is_compressed = not isinstance(tape.fileobj, io.BufferedReader)
        for entry in tape:
            if entry.isfile() or entry.issym() or entry.islnk():
                place = packed.Place() if is_compressed else _place_in_tar(entry)
                yield Member(entry.name, entry.size, partial(tape.extractfile, entry), place)


def _place_in_zip(entry: zipfile.ZipInfo) -> packed.Place:
    if entry.flag_bits & FLAGS or entry.compress_type not in METHODS:
        return packed.Place()
    where = entry.header_offset, entry.compress_size, entry.file_size
    return packed.Place(METHODS[entry.compress_type], *where, entry.CRC)


def _place_in_tar(entry: tarfile.TarInfo) -> packed.Place:
    if not entry.isfile() or entry.issparse():
        return packed.Place()
    return packed.Place(packed.RAW, entry.offset_data, entry.size, entry.size)

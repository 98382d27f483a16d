"""Photos that stay in their archive, a zip or an uncompressed tar, and are read in place.

Sources list files with ``pathlib`` and ``os``, each in its own way, and should not have to know of
archives. So each such photo has a placeholder, where all else of its archive is unpacked: a name
for an empty file, a hard link, which is made in a tenth of the time that a file takes, and takes no
room. Beside the placeholders an index says where in the archive their photos are. Who reads it maps
it into memory, which all processes share, and nothing of it travels to those that decode: a path
says it all.
"""

import hashlib
import json
import os
import struct
import zlib
from array import array
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from stages.files import cache_folder
from stages.ingest.decode_cache import FileState
from stages.ingest.images import UnreadablePhoto, link_or_copy

FILES, KEYS, PLACES, ARCHIVE = "files", "keys.npy", "places.npy", "archive.json"
UNPACKED, RAW, STORED, DEFLATED = range(4)  # how a photo is kept; RAW: in a tar
LOCAL_HEADER = struct.Struct("<4s22xHH")  # of a zip: signature, lengths of name and extra field
NO_CHECKSUM = -1
LINKS = 50_000  # to one file; ext4 takes 65,000


class Place(NamedTuple):
    """Where in its archive a photo is.

    Attributes:
        kind: how it is kept there; ``UNPACKED``: it lies in its own file after all.
        offset: of its bytes; in a zip, of the header before them.
        length: bytes that it takes there.
        size: bytes of its file.
        checksum: its CRC-32, or ``NO_CHECKSUM``.
    """

    kind: int = UNPACKED
    offset: int = 0
    length: int = 0
    size: int = 0
    checksum: int = NO_CHECKSUM


class Photo(NamedTuple):
    """A photo in the archive at this path.

    Attributes:
        version: of the archive, when it was listed.
    """

    archive: str
    version: tuple[int, int, int]
    place: Place


def place() -> Path:
    """The folder of what belongs to archives: a folder each."""
    return cache_folder("archives")


def state_of(status: os.stat_result) -> FileState:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def version_of(status: os.stat_result) -> tuple[int, int, int]:
    """The state but for ``ctime``, which a new hard link moves, too, as DVC makes them."""
    return status.st_size, status.st_mtime_ns, status.st_ino


class IndexWriter:
    """Writes placeholders below ``folder``, and the index of one archive into it.

    Of photos of one name the last counts, as in unpacking.
    """

    def __init__(self, folder: Path, archive: Path) -> None:
        self._folder = folder
        self._archive = {"path": str(archive.resolve()), "version": version_of(archive.stat())}
        self._keys, self._places = bytearray(), array("q")

    def add(self, path: PurePosixPath, place: Place) -> None:
        """Adds the photo at ``path`` in the archive; its placeholder, unless it is unpacked."""
        number = len(self._places) // len(place)
        if place.kind != UNPACKED:
            empty = self._folder / f"empty-{number // LINKS}"
            empty.touch()
            link_or_copy(empty, self._folder / FILES / path)
        self._keys += _key(str(path))
        self._places.extend(place)

    def write(self) -> None:
        keys = np.frombuffer(self._keys, "S32")
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        is_last = np.append(keys[1:] != keys[:-1], True)[: len(keys)]
        places = np.frombuffer(self._places, np.int64).reshape(-1, len(Place._fields))
        np.save(self._folder / KEYS, keys[is_last])
        np.save(self._folder / PLACES, places[order[is_last]])
        (self._folder / ARCHIVE).write_text(json.dumps(self._archive), "ascii")


def _key(path: str) -> bytes:
    # In letters: NumPy's texts end before a zero.
    return hashlib.blake2b(os.fsencode(path), digest_size=16).hexdigest().encode()


class Packed:
    """Finds photos in archives by the paths of their placeholders."""

    def __init__(self) -> None:
        self._prefix = f"{place().resolve()}{os.sep}"

    def find(self, path: str) -> Photo | None:
        """The photo whose placeholder is at ``path``, links followed; None: that is a file."""
        if not path.startswith(self._prefix):
            return None
        folder, _, name = path.removeprefix(self._prefix).partition(f"{os.sep}{FILES}{os.sep}")
        if not name:
            return None
        archive, version, keys, places = _index(self._prefix + folder)
        key = _key(name)
        row = int(keys.searchsorted(key))
        if row == len(keys) or keys[row] != key or places[row, 0] == UNPACKED:
            return None
        return Photo(archive, version, Place(*places[row].tolist()))


@lru_cache(maxsize=256)
def _index(folder: str) -> tuple[str, tuple[int, int, int], np.ndarray, np.ndarray]:
    about = json.loads(Path(folder, ARCHIVE).read_text("ascii"))
    arrays = (np.load(Path(folder, name), mmap_mode="r") for name in (KEYS, PLACES))
    return about["path"], tuple(about["version"]), *arrays


def read(photo: Photo) -> bytes:
    """The bytes of the photo's file.

    Raises:
        UnreadablePhoto: the archive is damaged there.
    """
    kind, offset, length, size, checksum = photo.place
    with open(photo.archive, "rb") as file:
        file.seek(offset)
        if kind != RAW:
            header = file.read(LOCAL_HEADER.size)
            if len(header) < LOCAL_HEADER.size or header[:4] != b"PK\3\4":
                raise UnreadablePhoto("its archive is damaged: no file begins where it should")
            _, *lengths = LOCAL_HEADER.unpack(header)
            file.seek(sum(lengths), os.SEEK_CUR)
        content = file.read(length)
    if kind == DEFLATED:
        try:
            # No more than is announced, of a file that may be a bomb.
            content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, size + 1)
        except zlib.error as error:
            raise UnreadablePhoto("its archive is damaged: it cannot be inflated") from error
    if len(content) != size:
        raise UnreadablePhoto("its archive is damaged: it has another length")
    if checksum not in (NO_CHECKSUM, zlib.crc32(content)):
        raise UnreadablePhoto("its archive is damaged: it has another checksum")
    return content

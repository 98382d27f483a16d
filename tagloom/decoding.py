"""Photos that people bring: what Pillow reads, and what it reads with plug-ins that are there."""

import os
import stat
from contextlib import suppress
from functools import cache
from pathlib import Path

from PIL import Image

from stages.ingest.images import Photo, UnreadablePhoto, decode

with suppress(ImportError):  # the extra heif
    from pillow_heif import register_heif_opener

    register_heif_opener()

__all__ = ["Photo", "UnreadablePhoto", "read", "read_file", "suffixes"]

HEIF = (".heic", ".heif", ".hif")
HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
MOST_BYTES = 2**29  # of a file; no photo is as large, and what is would fill the memory


def read(content: bytes, size: int) -> Photo:
    """Decodes a photo as the stage ingest does those of the data set.

    Args:
        content: of the file.
        size: height and width to bring it to, in pixels.

    Returns:
        ``pixels`` uint8 (size, size, 3), the photo's own ``width`` and ``height``, its ``dhash``.

    Raises:
        UnreadablePhoto: it is empty, truncated, no image or a decompression bomb; or its format
            needs a plug-in that is missing.
    """
    if _is_heif(content) and ".heic" not in Image.registered_extensions():
        raise UnreadablePhoto("HEIC needs a plug-in of Pillow: pip install pillow-heif")
    return decode(content, size)


def _is_heif(content: bytes) -> bool:
    return content[4:8] == b"ftyp" and content[8:12] in HEIF_BRANDS


def read_file(path: Path) -> bytes:
    """The content of a photo's file.

    Raises:
        UnreadablePhoto: it is missing, no file, too large or cannot be read.
    """
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):  # a folder, or a pipe that would never end
            raise UnreadablePhoto("it is not a file")
        if status.st_size > MOST_BYTES:
            raise UnreadablePhoto(f"it has {status.st_size:,} bytes, more than {MOST_BYTES:,}")
        return path.read_bytes()
    except FileNotFoundError as error:
        missing = "it is a link that leads nowhere" if path.is_symlink() else "the file is missing"
        raise UnreadablePhoto(missing) from error
    except OSError as error:
        raise UnreadablePhoto(f"cannot be read: {error.strerror}") from error
    except ValueError as error:  # a NUL in it
        raise UnreadablePhoto(f"its path is not one: {error}") from error


@cache
def suffixes() -> frozenset[str]:
    """The suffixes of all image formats that Pillow opens, with their dots, in lower case.

    Those of HEIC are among them whether or not it can be read here, so that such photos are not
    passed over in silence.
    """
    known = Image.registered_extensions().items()
    images = {s for s, name in known if name in Image.OPEN and _is_image(name)}
    return frozenset(images | set(HEIF))


def _is_image(name: str) -> bool:
    """Whether a format that Pillow knows is of images; PostScript, films and HDF5 are not."""
    return Image.MIME.get(name, "").startswith("image/")

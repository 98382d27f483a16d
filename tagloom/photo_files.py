"""The files of photos that people bring."""

import os
import stat
from pathlib import Path

from stages.ingest.images import UnreadablePhoto

MOST_BYTES = 2**29  # of a file; no photo is as large, and what is would fill the memory


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

"""Photos at addresses, ``https://host/1.jpg`` or ``s3://bucket/1.jpg``: fetched once, then files.

Each is kept in the cache folder, in a folder of its host or bucket, under the hash of its address.
What is there is not asked for again: that a photo behind an address has changed, nobody notices.
What could not be had, or is no photo, is not kept, and the next ingest asks for it again.
"""

import hashlib
import re
import time
from collections import Counter
from pathlib import Path

from stages import UserError
from stages.files import cache_folder, room
from stages.ingest.spool import Spool
from stages.ingest.workers import in_threads
from stages.progress import track

SCHEMES = ("http://", "https://", "s3://")
HOST = re.compile(r"\w+://(?:[^/?#]*@)?([\w.:-]*)", re.ASCII)
THREADS = 16  # photos that are waited for at once
TIMEOUT = 60.0  # seconds for a photo, each time
PAUSES = (1.0, 3.0)  # seconds before it is asked for a second and a third time
MOST_FAILURES = 32  # of a host that has given no photo yet; then it is asked for no other

FOR_NOW = (408, 429)  # of HTTP's answers 4xx, those that another try may change


def is_address(path: str) -> bool:
    return path.startswith(SCHEMES)


def file_of(address: str) -> Path:
    """Where the photo at ``address`` is kept, once it has been fetched."""
    return place() / _host(address) / hashlib.sha256(address.encode()).hexdigest()


def place() -> Path:
    """The folder of what has been fetched."""
    return cache_folder("addresses")


def fetch(rows: Spool) -> dict[str, str]:
    """Fetches the photos of ``rows`` (column ``photo``) that are at addresses and not yet here.

    Returns:
        Why those are not here that could not be had, by their addresses.

    Raises:
        UserError: what fetches them is not installed.
    """
    new = [
        photo
        for part in rows.parts()
        for photo in part["photo"].drop_nulls()
        if is_address(photo) and not file_of(photo).exists()
    ]
    if not new:
        return {}
    with room(place()) as folder:
        fetched = in_threads(_Fetcher(folder), new, THREADS)
        reasons = track(fetched, "ingest", len(new), "photos fetched")
        return {photo: why for photo, why in zip(new, reasons, strict=True) if why}


def forget(photo: str) -> None:
    """Lets the next ingest fetch ``photo`` again, if it is an address."""
    if is_address(photo):
        file_of(photo).unlink(missing_ok=True)


class _Fetcher:
    """Fetches the photo at an address by way of ``folder``; returns why it could not, or None."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._failures: Counter[str] = Counter()  # by host; those without an answer
        self._given: set[str] = set()  # the hosts that have given a photo

    def __call__(self, address: str) -> str | None:
        host, file = _host(address), file_of(address)
        for pause in (*PAUSES, None):
            if self._failures[host] >= MOST_FAILURES and host not in self._given:
                return f"{host} was asked for {MOST_FAILURES} other photos in vain, so not for this"
            try:
                _get(address, self._folder / file.name)
            except UserError:
                raise
            except Exception as error:  # fsspec lets through what aiohttp and botocore have
                if pause is None or _is_final(error):
                    self._failures[host] += not _is_final(error)
                    return _reason(error, host)
                time.sleep(pause)
            else:
                break
        self._given.add(host)
        file.parent.mkdir(parents=True, exist_ok=True)
        (self._folder / file.name).rename(file)
        return None


def _host(address: str) -> str:
    """The host or bucket, as the name of a folder."""
    found = HOST.match(address)
    return (found[1] if found else "").replace(":", "_")[:100].strip(".") or "_"


def _get(address: str, file: Path) -> None:
    try:
        import fsspec

        # By the scheme alone: of a whole address, fsspec would also read what stands behind "::".
        system = fsspec.filesystem(address.partition(":")[0])
    except ImportError as error:
        raise UserError(
            f"the photo {address} is at an address, and what fetches it is missing "
            f"({error}): pip install 'tagloom[addresses]'"
        ) from error
    system.get_file(address, str(file), timeout=TIMEOUT)


def _is_final(error: Exception) -> bool:
    """Whether another try would end the same."""
    status = getattr(error, "status", 500)  # of HTTP
    refused = isinstance(error, FileNotFoundError | PermissionError | ValueError)
    return refused or (400 <= status < 500 and status not in FOR_NOW)


def _reason(error: Exception, host: str) -> str:
    """In words for ``data/rejected.csv``, the same for the same fault."""
    if isinstance(error, FileNotFoundError):
        return f"{host} has no photo at its address (404)"
    if isinstance(error, TimeoutError):
        return f"{host} has not given it within {TIMEOUT:g} seconds"
    if status := getattr(error, "status", None):
        return f"{host} answers {status} {getattr(error, 'message', '')}".rstrip()
    if isinstance(error, PermissionError):
        return f"{host} does not let it be read: {error}"
    return f"it cannot be fetched from {host}: {str(error) or type(error).__name__}"

"""The Prefect server that ``make ui`` works with: joined or started, and started again."""

import asyncio
import fcntl
import json
import socket
import subprocess
import sys
import time
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_URL,
    PREFECT_HOME,
    PREFECT_SERVER_API_HOST,
    PREFECT_SERVER_API_PORT,
)

from flows import SERVER_START

AWAY = 120.0  # seconds that a server may be away for
LOOK = 1.0  # seconds from one look at it to the next


class ServerError(Exception):
    """There is no server to work with; the text says why, and what to do."""


class Server:
    """The server that ``PREFECT_API_URL`` names; else this user's own, started where it is not.

    A context manager. At its end, the server is stopped if it was started here; other projects
    that work with it start it again. Raises ServerError.

    Attributes:
        api: the address of its API.
    """

    def __init__(self) -> None:
        configured = (PREFECT_API_URL.value() or "").rstrip("/")
        host, port = PREFECT_SERVER_API_HOST.value(), PREFECT_SERVER_API_PORT.value()
        self.api = configured or f"http://{host}:{port}/api"
        self._command = [sys.executable, "-m", "prefect", "server", "start"]
        self._command += ["--host", host, "--port", str(port)]
        self._is_own = not configured
        self._process: subprocess.Popen[bytes] | None = None
        self._is_stopping = False

    def __enter__(self) -> "Server":
        if self._is_own:
            self._join_or_start()
        elif not healthy(self.api):
            raise ServerError(
                f"PREFECT_API_URL names {self.api}, but no Prefect server answers there"
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_stopping = True
        if self._process:
            self._process.terminate()
            self._process.wait()

    async def watch(self) -> None:
        """Starts this user's own server again whenever it is gone.

        Raises ServerError where it does not come back, or where another's stays away.
        """
        try:
            await self._watch()
        finally:
            self._is_stopping = True

    async def _watch(self) -> None:
        seen = time.monotonic()
        while True:
            await asyncio.sleep(LOOK)
            if await asyncio.to_thread(healthy, self.api):
                seen = time.monotonic()
            elif self._is_own and not listening(self.api):
                print("The Prefect server is gone, and is started again", flush=True)
                await asyncio.to_thread(self._join_or_start)
                seen = time.monotonic()
            elif time.monotonic() - seen > AWAY:
                raise ServerError(
                    f"The Prefect server at {self.api} has not answered for {AWAY:g} seconds, so "
                    "nothing can be run; start it, then this again"
                )

    def _join_or_start(self) -> None:
        """Of several projects that find no server, one starts it; the others join it then."""
        PREFECT_HOME.value().mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + SERVER_START
        while not self._is_stopping:
            with claimed(PREFECT_HOME.value() / "tagloom-server.lock") as is_mine:
                if is_mine:
                    return self._start(deadline) if not listening(self.api) else self._join()
            if time.monotonic() > deadline:
                raise ServerError(f"Nobody has started the Prefect server at {self.api} in time")
            time.sleep(0.2)

    def _join(self) -> None:
        if home(self.api) != PREFECT_HOME.value().resolve():
            raise ServerError(
                f"What answers at {self.api} is not the Prefect server of your PREFECT_HOME, "
                f"{PREFECT_HOME.value()}. To work with it, set PREFECT_API_URL={self.api}; to have "
                "one of your own beside it, set PREFECT_SERVER_API_PORT to a free port"
            )

    def _start(self, deadline: float) -> None:
        self._process = subprocess.Popen(
            self._command,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C shall reach the runs first, which report to the server
        )
        try:
            while not (self._is_stopping or healthy(self.api)):
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise ServerError(
                        f"The Prefect server did not start at {self.api}; is the port taken?"
                    )
                time.sleep(0.2)
        except BaseException:
            self.__exit__(None, None, None)
            raise


@contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Whether nobody else has the file; while this is entered, nobody else does."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def healthy(api: str) -> bool:
    """Whether a Prefect server answers."""
    try:
        with urllib.request.urlopen(f"{api}/health", timeout=2):
            return True
    except (OSError, HTTPException):  # no answer, or one that is an error
        return False


def listening(api: str) -> bool:
    """Whether a process has the port; a server that is only slow does."""
    address = urlsplit(api)
    try:
        with socket.create_connection((address.hostname, address.port), timeout=2):
            return True
    except TimeoutError:
        return True
    except OSError:
        return False


def home(api: str) -> Path | None:
    """The folder of the server's settings and database; None where it does not say."""
    request = urllib.request.Request(f"{api}/admin/settings")
    if password := PREFECT_API_AUTH_STRING.value():
        encoded = b64encode(password.encode()).decode()
        request.add_header("Authorization", f"Basic {encoded}")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return Path(json.load(answer)["home"]).resolve()
    except (OSError, HTTPException, ValueError, KeyError, TypeError):
        return None

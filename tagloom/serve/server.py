"""From options to a server that answers, and back to an orderly end."""

import asyncio
import faulthandler
import ipaddress
import logging
import os
import resource
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import uvicorn
from fastapi import FastAPI
from starlette.datastructures import State

from stages.files import cache_folder
from stages.network.allocation import keep_freed_memory
from tagloom.serve import request_log
from tagloom.serve.app import create_app
from tagloom.serve.limits import Limits
from tagloom.serve.metrics import Metrics
from tagloom.serve.middleware import is_address
from tagloom.serve.model_reload import Champion, ModelReloader, Runtime, ready
from tagloom.serve.protocol import protocol

BACKLOG = 128  # connections that wait to be accepted, at most
BURST = 4  # of them that a worker takes at once, so that others get some
FILES = 64  # descriptors for all that is no connection
MARGIN = 2.0  # seconds for an orderly end, after which there is a disorderly one
log = logging.getLogger("tagloom.serve")


@dataclass(frozen=True)
class Stopping:
    """How the service ends on SIGTERM.

    Attributes:
        notice: seconds in which it still takes requests, but says that it is not ready, so that
            others are asked instead. On Ctrl-C there is none.
        grace: seconds that requests then have to be answered.
    """

    notice: float = 3.0
    grace: int = 30


@dataclass(frozen=True)
class Address:
    """Where to listen, and the names, besides those of every machine, that are answered to."""

    host: str
    port: int
    allowed: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        if is_address(self.host) or self.host == "localhost":
            return self.allowed
        return (self.host, *self.allowed)

    @property
    def is_loopback(self) -> bool:
        if is_address(self.host):
            return ipaddress.ip_address(self.host).is_loopback
        return self.host == "localhost"


@dataclass(frozen=True)
class Settings:
    """What is served, where and how.

    Attributes:
        folder: of the bundle; None: of the champion of the project in the current folder.
        poll: seconds between two checks for a new model.
        batch_size, wait, threads, memory: as ``create_app`` takes them.
        style, level: of the log.
    """

    folder: Path | None
    runtime: Runtime
    address: Address
    poll: float
    limits: Limits
    batch_size: int
    wait: float
    threads: int | None
    stopping: Stopping
    style: request_log.Style
    level: request_log.Level
    memory: int | None = None


def run(
    settings: Settings,
    listener: socket.socket | None = None,
    fetches: bool = True,
    announce: Callable[[], None] = lambda: None,
) -> None:
    """Serves until SIGINT or SIGTERM; the port opens once the model is ready.

    Args:
        listener: bound to the address, and shared with other workers; None: there are none.
        fetches: whether this process, and no other, brings the champion's folder up to date.
        announce: is called once the port is open.

    Raises:
        UserError: there is no model that can be served.
    """
    keep_freed_memory()
    address, folder, champion = settings.address, settings.folder, None
    if folder is None:
        folder = cache_folder("champion") / "bundle"
        champion = Champion(Path.cwd(), folder) if fetches else None
    if champion is not None:
        asyncio.run(champion.fetch())
    metrics = Metrics()
    model = ready(folder, settings.runtime)
    refresh = champion.fetch if champion else None
    reloader = ModelReloader(model, settings.runtime, settings.poll, metrics, refresh)
    app = create_app(
        *(reloader, metrics, settings.limits, address.names),
        *(settings.batch_size, settings.wait, settings.threads),
        memory=settings.memory,
    )
    if not address.is_loopback and fetches:
        log.warning(
            "listening at %s: whoever reaches this machine may ask, for there is neither a "
            "password nor encryption; put a reverse proxy with both in front",
            address.host,
        )
    serving = server(app, address, settings.limits, metrics, settings.stopping, announce)
    if listener is not None:
        serving.config.backlog = BURST
    try:
        serving.run(None if listener is None else [listener])
    finally:
        if app.state.batcher.longest:
            log.error("ended in the middle of a photo or a batch, which did not come to its end")
            os._exit(1)  # Python itself would wait for the thread that is at it


def server(
    app: FastAPI,
    address: Address,
    limits: Limits,
    metrics: Metrics,
    stopping: Stopping = Stopping(),
    announce: Callable[[], None] = lambda: None,
) -> uvicorn.Server:
    """What listens for the application and speaks HTTP; its logging is set up elsewhere."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    backlog = min(BACKLOG, descriptors // 4)
    most = max(1, descriptors - backlog - FILES)  # asyncio accepts a backlog before it looks
    return Server(
        app.state,
        uvicorn.Config(
            app,
            address.host,
            address.port,
            backlog=backlog,
            http=protocol(limits.seconds, most, metrics),
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=stopping.grace,
        ),
        stopping,
        announce,
    )


class Server(uvicorn.Server):
    """Says that it is to stop before it does, and ends in time even where something hangs."""

    def __init__(
        self,
        state: State,
        config: uvicorn.Config,
        stopping: Stopping,
        announce: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self._state, self._stopping, self._announce = state, stopping, announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._announce()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        notice = self._stopping.notice
        is_first, self._state.is_stopping = not self._state.is_stopping, True
        if is_first:
            # From a thread of its own that takes no lock of Python's; it says what was hanging.
            last = notice + self._stopping.grace + MARGIN
            faulthandler.dump_traceback_later(last, exit=True)
        if is_first and notice and sig == signal.SIGTERM:
            log.info("to stop in %g s; /health says so", notice)
            asyncio.get_running_loop().call_later(notice, super().handle_exit, sig, frame)
        else:
            super().handle_exit(sig, frame)

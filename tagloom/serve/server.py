"""From options to a server that answers, and back to an orderly end."""

import asyncio
import faulthandler
import ipaddress
import logging
import os
import resource
import signal
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import uvicorn
from fastapi import FastAPI
from starlette.datastructures import State

from stages.files import cache_folder
from stages.network.allocation import keep_freed_memory
from tagloom.serve.app import create_app
from tagloom.serve.limits import Limits
from tagloom.serve.metrics import Metrics
from tagloom.serve.middleware import is_address
from tagloom.serve.model_reload import Champion, ModelReloader, Runtime, ready
from tagloom.serve.protocol import protocol

BACKLOG = 128  # connections that wait to be accepted, at most
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


def run(
    folder: Path | None,
    runtime: Runtime,
    address: Address,
    poll: float,
    limits: Limits,
    batch_size: int,
    wait: float,
    threads: int | None,
    stopping: Stopping,
) -> None:
    """Serves until SIGINT or SIGTERM; the port opens once the model is ready.

    Args:
        folder: of the bundle; None: of the champion of the project in the current folder.
        poll: seconds between two checks for a new model.
        batch_size, wait, threads: as ``create_app`` takes them.

    Raises:
        UserError: there is no model that can be served.
    """
    keep_freed_memory()
    champion = None
    if folder is None:
        champion = Champion(Path.cwd(), cache_folder("champion") / "bundle")
        asyncio.run(champion.fetch())
        folder = champion.folder
    metrics = Metrics()
    model = ready(folder, runtime)
    reloader = ModelReloader(model, runtime, poll, metrics, champion.fetch if champion else None)
    app = create_app(reloader, metrics, limits, address.names, batch_size, wait, threads)
    if not address.is_loopback:
        log.warning(
            "listening at %s: whoever reaches this machine may ask, for there is neither a "
            "password nor encryption; put a reverse proxy with both in front",
            address.host,
        )
    try:
        server(app, address, limits, metrics, stopping).run()
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
    )


class Server(uvicorn.Server):
    """Says that it is to stop before it does, and ends in time even where something hangs."""

    def __init__(self, state: State, config: uvicorn.Config, stopping: Stopping) -> None:
        super().__init__(config)
        self._state, self._stopping = state, stopping

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

"""From options to a server that answers, and back to an orderly end."""

import asyncio
import copy
import ipaddress
import logging
import logging.config
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.config import LOGGING_CONFIG

from stages.files import cache_folder
from stages.network.allocation import keep_freed_memory
from tagloom.serve.app import create_app
from tagloom.serve.limits import Limits
from tagloom.serve.metrics import Metrics
from tagloom.serve.middleware import is_address
from tagloom.serve.model_reload import Champion, ModelReloader, Runtime, ready
from tagloom.serve.protocol import protocol

GRACE = 30  # seconds that requests have to be answered once the service is to stop
log = logging.getLogger("tagloom.serve")


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
    logging.config.dictConfig(logging_config())
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
    server(app, address, limits, metrics).run()


def server(app: FastAPI, address: Address, limits: Limits, metrics: Metrics) -> uvicorn.Server:
    """What listens for the application and speaks HTTP; its logging is set up elsewhere."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            address.host,
            address.port,
            http=protocol(limits.seconds, metrics),
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=GRACE,
        )
    )


def logging_config() -> dict[str, Any]:
    config = copy.deepcopy(LOGGING_CONFIG)
    config["loggers"]["tagloom"] = {"handlers": ["default"], "level": "INFO", "propagate": False}
    return config

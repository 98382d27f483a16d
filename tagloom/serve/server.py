"""From options to a server that answers, and back to an orderly end."""

import asyncio
import copy
import ipaddress
import logging
import logging.config
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from uvicorn.config import LOGGING_CONFIG

from stages.files import cache_folder
from stages.network.allocation import keep_freed_memory
from tagloom.serve.app import create_app
from tagloom.serve.limits import Limits
from tagloom.serve.metrics import Measures
from tagloom.serve.middleware import is_address
from tagloom.serve.model_reload import Champion, Follower, Runtime, ready
from tagloom.serve.protocol import protocol

GRACE = 30  # seconds that requests have to be answered once the service is told to stop
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
    **batching: int | float | None,
) -> None:
    """Serves until SIGINT or SIGTERM; the port opens once the model is ready.

    Args:
        folder: of the bundle; None: of the champion of the project in the current folder.
        poll: seconds between two looks for a new model.
        batching: as ``create_app`` has them.

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
    measures = Measures()
    model = ready(folder, runtime)
    follower = Follower(model, runtime, poll, measures, champion.fetch if champion else None)
    app = create_app(follower, measures, limits, address.names, **batching)
    if not address.is_loopback:
        log.warning(
            "listening at %s: whoever reaches this machine may ask, for there is neither a "
            "password nor encryption; put a reverse proxy with both in front",
            address.host,
        )
    server(app, address, limits, measures).run()


def server(app: FastAPI, address: Address, limits: Limits, measures: Measures) -> uvicorn.Server:
    """What listens for the application and speaks HTTP; its logging is set up elsewhere."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            address.host,
            address.port,
            http=protocol(limits.seconds, measures),
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=GRACE,
        )
    )


def logging_config() -> dict:
    config = copy.deepcopy(LOGGING_CONFIG)
    config["loggers"]["tagloom"] = {"handlers": ["default"], "level": "INFO", "propagate": False}
    return config

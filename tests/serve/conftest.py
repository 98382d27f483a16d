"""A real server on a free port of loopback, and what its tests send."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from stages.bundle.model import Model
from tagloom.serve.app import create_app
from tagloom.serve.limits import MB, Limits
from tagloom.serve.metrics import Metrics
from tagloom.serve.model_reload import ModelReloader, ready
from tagloom.serve.server import Address, server

LIMITS = Limits(photo_bytes=MB, request_bytes=4 * MB, seconds=20)  # those that hostile.py names


@dataclass
class Running:
    """A service that answers, and the application in it."""

    app: FastAPI
    reloader: ModelReloader
    metrics: Metrics
    port: int
    client: httpx.Client

    def count(self, name: str, **labels: str) -> float:
        """A figure of ``/metrics``; 0 where it was not counted yet."""
        return self.metrics.registry.get_sample_value(f"tagloom_{name}", labels) or 0.0


@contextmanager
def running(
    model: Model, limits: Limits = LIMITS, poll: float = 3600, refresh=None, **more
) -> Iterator[Running]:
    metrics = Metrics()
    reloader = ModelReloader(model, "torch", poll, metrics, refresh)
    app = create_app(reloader, metrics, limits, **more)
    served = server(app, Address("127.0.0.1", 0), limits, metrics)
    thread = threading.Thread(target=served.run)
    thread.start()
    deadline = time.monotonic() + 20
    while not served.started and time.monotonic() < deadline:
        time.sleep(0.01)
    try:
        assert served.started
        port = served.servers[0].sockets[0].getsockname()[1]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            yield Running(app, reloader, metrics, port, client)
    finally:
        served.should_exit = True
        thread.join(timeout=30)
        assert not thread.is_alive()


@pytest.fixture(scope="session")
def model(bundle: Path) -> Model:
    return ready(bundle, "torch")


@pytest.fixture(scope="session")
def service(model: Model) -> Iterator[Running]:
    """A service that no test changes."""
    with running(model) as running_:
        yield running_

"""The Prefect server and the deployments of the flows: ``python -m flows.serve``.

For work pools ``prefect.yaml`` has the same deployments.
"""

import asyncio
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from prefect import Flow
from prefect.runner import Runner
from prefect.schedules import Cron, Schedule
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_SERVER_API_HOST,
    PREFECT_SERVER_API_PORT,
    temporary_settings,
)

from flows import SERVER_START
from flows.params import check_params
from flows.plan import PlanError, read
from flows.reproduce import reproduce
from flows.retrain import retrain
from flows.sweep import sweep


def main() -> None:
    """Serves the deployments until it is stopped; starts a server where none is running."""
    # While the server starts: SIGTERM shall end it as Ctrl-C does, and not leave it behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    schedule = clock(Path.cwd())  # what is wrong is said before a server starts
    with suppress(KeyboardInterrupt), server() as api, temporary_settings({PREFECT_API_URL: api}):
        asyncio.run(serve({reproduce: None, sweep: None, retrain: schedule}))


def clock(root: Path) -> Schedule | None:
    """When to retrain, as ``retrain.cron`` and ``retrain.timezone`` say; None: when asked for.

    Ends the program with a sentence where a value of ``params.yaml`` is wrong.
    """
    try:
        check_params(root)
        params = read(root)
    except PlanError as error:
        sys.exit(str(error))
    if params.get("retrain.cron") is None:
        return None
    return Cron(params["retrain.cron"], timezone=params.get("retrain.timezone"))


def for_pool() -> dict[str, Any]:
    """What ``prefect.yaml`` asks about the project in the current folder, as a step of its own.

    There as here, ``params.yaml`` says when to retrain; ``active`` is False where it says never.
    """
    schedule = clock(Path.cwd())
    when = schedule or Cron("0 0 * * *", timezone="UTC")  # a schedule that rests has to be one, too
    return {
        "folder": str(Path.cwd()),
        "cron": when.cron,
        "timezone": when.timezone,
        "active": schedule is not None,
    }


async def serve(flows: Mapping[Flow, Schedule | None]) -> None:
    """Runs what is asked of the flows' deployments, or is due, until SIGINT or SIGTERM.

    As ``prefect.serve`` does, except that a run in progress is cancelled before this ends.
    ``prefect.serve`` kills it, which leaves it "Running" for ever in the pages.
    """
    # One at a time: the flows share a workspace, and often a GPU. The others wait; why it is not
    # the deployments that have a limit: docs/pools.md.
    runner = Runner(limit=1, pause_on_shutdown=False)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    runner.handle_sigterm = lambda *_: loop.call_soon_threadsafe(stop.set)  # it takes SIGTERM over
    for flow, schedule in flows.items():
        await runner.aadd_deployment(await flow.ato_deployment(flow.name, schedule=schedule))
    pages = PREFECT_API_URL.value().removesuffix("/api")
    print(f"Start and watch runs at {pages} (Ctrl-C stops)", flush=True)
    running = asyncio.create_task(runner.start())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([running, stopping], return_when=asyncio.FIRST_COMPLETED)
    if stop.is_set() and runner.started:
        await runner.astop()
    elif stop.is_set():
        raise KeyboardInterrupt
    stopping.cancel()
    await running


@contextmanager
def server() -> Iterator[str]:
    """Yields the API's address: of the configured server, of one that runs here, or of a new one.

    Only a server that was started here is stopped at the end.
    """
    if configured := (PREFECT_API_URL.value() or "").rstrip("/"):
        if not healthy(configured):
            sys.exit(f"PREFECT_API_URL names {configured}, but no Prefect server answers there")
        yield configured
        return
    host, port = PREFECT_SERVER_API_HOST.value(), PREFECT_SERVER_API_PORT.value()
    api = f"http://{host}:{port}/api"
    if healthy(api):
        yield api
        return
    process = subprocess.Popen(
        [sys.executable, "-m", "prefect", "server", "start", "--host", host, "--port", str(port)],
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C shall reach the runs first, which report to the server
    )
    try:
        deadline = time.monotonic() + SERVER_START
        while not healthy(api):
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"The Prefect server did not start at {api}; is the port taken?")
            time.sleep(0.5)
        yield api
    finally:
        process.terminate()
        process.wait()


def healthy(api: str) -> bool:
    try:
        with urllib.request.urlopen(f"{api}/health", timeout=2):
            return True
    except OSError:  # no answer, or one that is an error
        return False


if __name__ == "__main__":
    main()

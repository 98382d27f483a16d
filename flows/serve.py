"""The Prefect server and the deployments of the flows: ``python -m flows.serve``.

For work pools ``prefect.yaml`` has the same deployments.
"""

import asyncio
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
from prefect import Flow
from prefect.client.schemas.schedules import CronSchedule
from prefect.runner import Runner
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, PREFECT_UI_URL, temporary_settings

from experiments.plan import PlanError, read
from flows import notifications
from flows.deployments import deployment_name, end_lost_runs, register, when
from flows.outages import be_patient
from flows.params import check_params
from flows.reproduce import reproduce
from flows.retrain import retrain
from flows.server import Server, ServerError, claimed, listening
from flows.sweep import sweep
from stages import printable

# When the deployment of each flow runs by itself, if ever.
Clocks = Mapping[Flow[..., Any], CronSchedule | None]


def main() -> None:
    """Serves the deployments until it is stopped; starts a server where none is running."""
    # While the server starts: SIGTERM shall end it as Ctrl-C does, and not leave it behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    name = deployment_name(Path.cwd())
    PREFECT_HOME.value().mkdir(parents=True, exist_ok=True)
    try:
        with claimed(PREFECT_HOME.value() / f"tagloom-{name[-6:]}.lock") as is_mine:
            if not is_mine:
                sys.exit("make ui is running for this project already; one at a time")
            flows: Clocks = {reproduce: None, sweep: None, retrain: clock(Path.cwd())}
            notify = read(Path.cwd()).get("retrain.notify")
            with (
                suppress(KeyboardInterrupt),
                Server() as server,
                temporary_settings({PREFECT_API_URL: server.api}),
            ):
                notifications.register(name, retrain.name, notify)
                asyncio.run(serve(server, name, flows))
    except (PlanError, ServerError) as error:
        sys.exit(printable(str(error)))
    except (RuntimeError, httpx.HTTPError) as error:  # Prefect's own
        reason = str(error).partition("\n")[0]
        sys.exit(f"The Prefect server did not do as it was asked: {reason}")


def clock(root: Path) -> CronSchedule | None:
    """When to retrain, as ``retrain.cron`` and ``retrain.timezone`` say; None: when asked for.

    Raises:
        PlanError: a value of ``params.yaml`` is wrong.
    """
    check_params(root)
    params = read(root)
    if params.get("retrain.cron") is None:
        return None
    return CronSchedule(cron=params["retrain.cron"], timezone=params.get("retrain.timezone"))


def for_pool() -> dict[str, Any]:
    """What ``prefect.yaml`` asks about the project in the current folder, as a step of its own.

    There as here, ``params.yaml`` says when to retrain and whom to notify; ``active`` is False
    where it says never.
    """
    root = Path.cwd()
    name = deployment_name(root)
    try:
        schedule = clock(root)
        notifications.register(name, retrain.name, read(root).get("retrain.notify"))
    except PlanError as error:
        sys.exit(printable(str(error)))
    # A schedule that rests has to be one, too.
    shown = schedule or CronSchedule(cron="0 0 * * *", timezone="UTC")
    return {
        "folder": str(root),
        "name": name,
        "version": when(schedule),
        "cron": shown.cron,
        "timezone": shown.timezone,
        "active": schedule is not None,
    }


class StoppableRunner(Runner):
    """Prefect's runner, which takes SIGTERM over and would exit at once: here it calls ``stop``."""

    def __init__(self, stop: Callable[[], object]) -> None:
        # One at a time: the flows share a workspace, and often a GPU. The others wait; why it is
        # not the deployments that have a limit: docs/pools.md.
        super().__init__(limit=1, pause_on_shutdown=False)
        self._call_stop = stop

    def handle_sigterm(self, *_: Any, **__: Any) -> None:
        self._call_stop()


async def serve(server: Server, name: str, flows: Clocks) -> None:
    """Runs what is asked of the flows' deployments, or is due, until SIGINT or SIGTERM.

    As ``prefect.serve`` does, except that a run in progress is cancelled before this ends.
    ``prefect.serve`` kills it, which leaves it "Running" for ever in the pages. Raises ServerError
    where the server stays away; what ran then is ended, and is Crashed from the next start on.

    Args:
        name: the deployments'.
    """
    be_patient()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    runner = StoppableRunner(lambda: loop.call_soon_threadsafe(stop.set))
    # Prefect's own is a folder of all users of the machine, and belongs to the first of them.
    runner._tmp_dir = PREFECT_HOME.value() / "runner_storage" / runner._tmp_dir.name
    ids = [await register(runner, flow, name, schedule) for flow, schedule in flows.items()]
    await end_lost_runs(ids)
    print(f"Start and watch runs of {name} at {PREFECT_UI_URL.value()} (Ctrl-C stops)", flush=True)
    running = asyncio.create_task(runner.start())
    watching = asyncio.create_task(server.watch())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([running, watching, stopping], return_when=asyncio.FIRST_COMPLETED)
    if watching.done() or not await asyncio.to_thread(listening, server.api):
        _kill_runs()  # there is nobody to report to
        running.cancel()
    elif stop.is_set() and runner.started:
        await runner.astop()
    elif stop.is_set():
        raise KeyboardInterrupt
    stopping.cancel()
    with suppress(asyncio.CancelledError):
        await running
    if watching.done():
        watching.result()
    watching.cancel()


def _kill_runs() -> None:
    """Kills the runs in progress; their reapers end what they have started."""
    for process in psutil.Process().children():
        with suppress(psutil.Error):
            if "PREFECT__FLOW_RUN_ID" in process.environ():
                process.kill()


if __name__ == "__main__":
    main()

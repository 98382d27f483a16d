"""Lets Prefect's runner and its runs sit out a server that is away for a while."""

import asyncio
import logging
from functools import partial
from typing import Self

from prefect._internal import observers
from prefect.runner import _scheduled_run_poller, runner
from prefect.utilities.services import critical_service_loop

FAILURES = 10_000  # looks in vain; ``Server.watch`` gives up long before


def be_patient() -> None:
    """Makes Prefect's loops in this process go on while the server is away.

    After three failures they would print them, with tracebacks, and end: no run could be started
    any more, or cancelled, when the server is there again.
    """
    patient = partial(critical_service_loop, consecutive=FAILURES, printer=lambda *_: None)
    observers.critical_service_loop = _scheduled_run_poller.critical_service_loop = patient
    runner.FlowRunCancellingObserver = AskingObserver  # type: ignore[misc]
    # These say in a line that they have lost the server, and ask it now and then from there on.
    for name in ("FlowRunCancellingObserver", "FlowRunSuspendingObserver"):
        logging.getLogger(f"prefect.{name}").addFilter(_without_traceback)


class AskingObserver(observers.FlowRunCancellingObserver):
    """Prefect's, which learns of cancellations by websocket, and here asks the server as well.

    Prefect's asks only once the websocket has failed for good. One that comes back is not told
    what was cancelled shortly before: the server has not written that down yet, for up to 5 seconds
    (``PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL``). The run would be Cancelling
    for ever.
    """

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        if self._polling_task is None:  # no websocket: it asks already
            self._polling_task = asyncio.create_task(
                observers.critical_service_loop(
                    workload=self._check_for_cancelled_flow_runs,
                    interval=self.polling_interval,
                    jitter_range=0.3,
                )
            )
        return self

    def _start_polling_task(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and task.exception():
            self.logger.warning("The websocket for cancellations failed; the server is asked.")


def _without_traceback(record: logging.LogRecord) -> bool:
    record.exc_info = None
    return True

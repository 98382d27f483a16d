"""Lets Prefect's runner and its runs sit out a server that is away for a while."""

import logging
from functools import partial

from prefect._internal import observers
from prefect.runner import _scheduled_run_poller
from prefect.utilities.services import critical_service_loop

FAILURES = 10_000  # looks in vain; ``Server.watch`` gives up long before


def be_patient() -> None:
    """Makes Prefect's loops in this process go on while the server is away.

    After three failures they would print them, with tracebacks, and end: no run could be started
    any more, or cancelled, when the server is there again.
    """
    patient = partial(critical_service_loop, consecutive=FAILURES, printer=lambda *_: None)
    observers.critical_service_loop = _scheduled_run_poller.critical_service_loop = patient
    # These say in a line that they have lost the server, and ask it now and then from there on.
    for name in ("FlowRunCancellingObserver", "FlowRunSuspendingObserver"):
        logging.getLogger(f"prefect.{name}").addFilter(_without_traceback)


def _without_traceback(record: logging.LogRecord) -> bool:
    record.exc_info = None
    return True

"""A flow that is run from the command line."""

import logging
import sys
from typing import Any

import httpx
from prefect import Flow
from prefect.client.schemas.objects import State
from prefect.settings import PREFECT_API_URL


def run(flow: Flow[..., State], **parameters: Any) -> State:
    """Runs the flow in this process, and returns its state.

    Ends the program with a sentence where the configured Prefect server does not answer or goes
    away, or where there is none and a temporary one does not start.
    """
    logging.getLogger("prefect.flow_runs").addFilter(_is_of_the_flow)
    try:
        return flow(**parameters, return_state=True)
    except (RuntimeError, httpx.HTTPError) as error:  # Prefect's own; of the flow, it makes a state
        api = PREFECT_API_URL.value()
        fault = f"server at {api} does not answer" if api else "temporary server gives no answer"
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        sys.exit(
            f"{flow.name}: Prefect's {fault} ({reason}); what was done is kept, and the same "
            "command does the rest"
        )


def _is_of_the_flow(record: logging.LogRecord) -> bool:
    """Whether the record is not the traceback of a server that is gone."""
    return not (record.exc_info and isinstance(record.exc_info[1], httpx.TransportError))

"""How a flow that raises ends: as Failed, in a sentence; or it is tried again."""

from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import ParamSpec

from prefect import get_client, get_run_logger, runtime
from prefect.client.schemas.objects import State
from prefect.exceptions import Pause
from prefect.states import AwaitingRetry, Failed
from prefect.types._datetime import now
from prefect.utilities.engine import propose_state_sync

from experiments.dvc_project import ProjectError, Transient
from experiments.plan import PlanError

P = ParamSpec("P")

# Seconds before each further attempt. Longer than a process takes to end, and a worker looks ahead:
# one of Prefect 3.8 that is given a run anew while it still has its process stops working.
DELAYS = (60.0, 300.0, 900.0)


def failed_or_retried(function: Callable[P, State]) -> Callable[P, State]:
    """Decorates a flow's function: PlanError, ProjectError and OSError end it as Failed, in words.

    A deployment's run is tried again after each of ``DELAYS`` where the error is Transient.
    Prefect's own retries of a flow would also try again what cannot get better: a parameter that
    does not exist, a stage that fails. On the command line nothing is tried again.
    """

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> State:
        try:
            return function(*args, **kwargs)
        except (PlanError, ProjectError) as error:
            if isinstance(error, Transient) and runtime.deployment.id:
                try_again(str(error))
            return Failed(message=str(error))
        except OSError as error:  # a full disk, a folder that may not be read
            where = f"{error.filename}: " if error.filename else ""
            return Failed(message=f"{where}{error.strerror or error}")

    return run


def try_again(reason: str) -> None:
    """Puts off the run that this is called in, and ends its process; after the last try, returns.

    The run is AwaitingRetry, and whoever runs the deployment begins it anew when it is time. Other
    runs have the slot meanwhile.
    """
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(runtime.flow_run.id)
        if run.run_count > len(DELAYS):
            return
        delay = DELAYS[run.run_count - 1]
        get_run_logger().warning("%s", reason)
        # The process that a worker has taken down is at its end; with one, a run that waits could
        # not be cancelled. The client's own method leaves out what is None.
        forget = {"infrastructure_pid": None}
        client.request("PATCH", "/flow_runs/{id}", path_params={"id": run.id}, json=forget)
        state: State = AwaitingRetry(
            scheduled_time=now("UTC") + timedelta(seconds=delay),
            message=f"{reason}; tried again in {delay / 60:g} min",
        )
        # As a flow that is suspended does. A state that is returned has to be a last one.
        raise Pause(state=propose_state_sync(client, state, flow_run_id=run.id))

"""How a flow that raises ends: as Failed, in a sentence; or it is tried again."""

import time
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

from prefect import get_run_logger, runtime, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows.dvc_project import ProjectError, Transient
from flows.plan import PlanError

P = ParamSpec("P")

DELAYS = (60.0, 300.0, 900.0)  # seconds before each further attempt


def told(function: Callable[P, State]) -> Callable[P, State]:
    """Makes a flow's function end as Failed with what PlanError, ProjectError and OSError say.

    A deployment's run is tried again after each of ``DELAYS`` where that is Transient. Prefect's
    own retries of a flow would also try again what cannot get better: a parameter that does not
    exist, a stage that fails. On the command line, whoever asked is told at once.
    """

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> State:
        delays = list(DELAYS) if runtime.deployment.id else []
        while True:
            try:
                return function(*args, **kwargs)
            except (PlanError, ProjectError) as error:
                if not (delays and isinstance(error, Transient)):
                    return Failed(message=str(error))
                get_run_logger().warning("%s", error)
                wait(delays.pop(0), str(error))
            except OSError as error:  # a full disk, a folder that may not be read
                where = f"{error.filename}: " if error.filename else ""
                return Failed(message=f"{where}{error.strerror or error}")

    return run


@task(cache_policy=NO_CACHE, persist_result=False, task_run_name="wait")
def wait(seconds: float, reason: str) -> State:
    time.sleep(seconds)
    return Completed(name="Waited", message=f"{seconds:g} s: {reason}")

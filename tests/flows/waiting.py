"""Two deployments that the tests serve: one waits for a file to go, and the other has time."""

import asyncio
from pathlib import Path

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from experiments.dvc_project import Transient
from flows import retries

retries.DELAYS = (3.0, 3.0)


@flow
@retries.failed_or_retried
def waiting(file: str) -> State:
    if Path(file).exists():
        raise Transient("busy")
    return Completed(message="at last")


@flow
@retries.failed_or_retried
def other(file: str) -> State:
    Path(file).unlink()
    return Completed(message="done")


if __name__ == "__main__":
    from flows.deployments import deployment_name  # runs need none of it
    from flows.serve import serve
    from flows.server import Server

    with Server() as server:
        name = deployment_name(Path.cwd())
        asyncio.run(serve(server, name, {waiting: None, other: None}))

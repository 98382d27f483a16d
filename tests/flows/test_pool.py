"""The deployments of prefect.yaml, with a worker that starts processes."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import State
from prefect.client.schemas.responses import DeploymentResponse

from flows.deployments import SLUG, deployment_name
from flows.reproduce import reproduce
from flows.retrain import retrain
from flows.sweep import sweep
from tests import forked_python
from tests.toy import ROOT, Toy, eventually

FLOWS = (reproduce, sweep, retrain)


def prefect(*arguments: str) -> list[str]:
    return [forked_python.executable(), "-m", "prefect", "--no-prompt", *arguments]


@pytest.fixture
def pool(toy: Toy, client: SyncPrefectClient) -> Iterator[dict[str, str]]:
    """The deployments in a pool of processes; the environment that commands are run in."""
    (toy.folder / "flows").symlink_to(ROOT / "flows")
    cron = "retrain:\n  cron: 0 4 * * 1\n  timezone: Europe/Berlin\n"
    (toy.folder / "params.yaml").write_text(f"a: in.txt\n{cron}b: 1\n")
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PREFECT_API_URL": str(client.api_url),
        "PREFECT_WORKER_QUERY_SECONDS": "1",
    }
    client.create_work_pool(WorkPoolCreate(name="tagloom", type="process"))
    command = prefect("deploy", "--all", "--prefect-file", "flows/prefect.yaml")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    yield environment
    for flow in FLOWS:
        client.delete_deployment(named(client, flow.name).id)


def named(client: SyncPrefectClient, flow: str) -> DeploymentResponse:
    return client.read_deployment_by_name(f"{flow}/{deployment_name(Path.cwd())}")


def test_a_worker_runs_what_is_served_too(
    pool: dict[str, str], client: SyncPrefectClient, toy: Toy
) -> None:
    for flow in FLOWS:
        served = asyncio.run(flow.ato_deployment("served"))
        deployed = named(client, flow.name)
        schema = deployed.parameter_openapi_schema["properties"]
        assert schema == served._parameter_openapi_schema.properties
        assert deployed.description == served.description
        assert bool(deployed.schedules) == (flow is retrain)
    [schedule] = deployed.schedules
    assert schedule.schedule.cron == "0 4 * * 1"
    assert schedule.schedule.timezone == "Europe/Berlin"
    assert schedule.active
    # As make ui has them: it knows what of this the page has changed.
    assert (schedule.slug, deployed.version) == (SLUG, "0 4 * * 1 (Europe/Berlin)")

    deployed = named(client, "reproduce")
    run = client.create_flow_run_from_deployment(deployed.id, parameters={"targets": ["last"]})

    def ended() -> State | None:
        state = client.read_flow_run(run.id).state
        return state if state.is_final() else None

    command = prefect("worker", "start", "--pool", "tagloom", "--limit", "1")
    with subprocess.Popen(command, env=pool, stdout=subprocess.DEVNULL) as worker:
        try:
            state = eventually(ended)
            worker.send_signal(signal.SIGINT)
            worker.wait(30)
        finally:
            worker.kill()
    assert (state.name, state.message) == ("Completed", "Nothing had to run")

"""What is tried again, and what is not."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import pytest
from dvc.repo import Repo
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import Pause
from prefect.flow_engine import run_flow
from prefect.states import Cancelling, Completed

from experiments.dvc_project import Project, ProjectError, Queue, Transient
from experiments.plan import PlanError
from flows.retries import failed_or_retried
from tests.flows.test_serve import END, deployment, serving
from tests.toy import Toy, eventually

NAMES = ("waiting", "other")  # deployments of tests.flows.waiting

errors: list[Exception] = []  # what the flow raises, one a time


@flow
@failed_or_retried
def raising() -> State:
    if errors:
        raise errors.pop(0)
    return Completed(message="at last")


@pytest.fixture
def start(client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch) -> Callable[[], FlowRun]:
    """Makes runs of a deployment, for ``attempt``, that wait for less long."""
    monkeypatch.setattr("flows.retries.DELAYS", (0.01, 0.02))
    deployment = raising.to_deployment("raising").apply()
    return lambda: client.create_flow_run_from_deployment(deployment)


def attempt(client: SyncPrefectClient, run: FlowRun) -> State:
    """Runs it as the process does that a runner starts; the state it is in afterwards."""
    with suppress(Pause):
        run_flow(raising, flow_run=client.read_flow_run(run.id), return_type="state")
    return client.read_flow_run(run.id).state


def test_a_deployment_tries_again_what_may_pass(
    start: Callable[[], FlowRun], client: SyncPrefectClient
) -> None:
    errors[:] = [Transient("busy"), Transient("out of reach")]
    run = start()
    states = [attempt(client, run) for _ in range(3)]
    assert [(state.name, state.message.partition(";")[0]) for state in states] == [
        ("AwaitingRetry", "busy"),
        ("AwaitingRetry", "out of reach"),
        ("Completed", "at last"),
    ]

    errors[:] = [Transient("busy")] * 3
    run = start()
    states = [attempt(client, run) for _ in range(3)]
    assert [state.name for state in states] == ["AwaitingRetry", "AwaitingRetry", "Failed"]
    assert states[-1].message == "busy"


def test_a_run_that_waits_can_be_cancelled(
    start: Callable[[], FlowRun], client: SyncPrefectClient
) -> None:
    errors[:] = [Transient("busy")]
    run = start()
    client.update_flow_run(run.id, infrastructure_pid="a process that a worker started")
    assert attempt(client, run).name == "AwaitingRetry"
    client.set_flow_run_state(run.id, Cancelling())  # what the button in the UI does
    assert client.read_flow_run(run.id).state.name == "Cancelled"


@pytest.mark.parametrize("error", [ProjectError("no such stage"), PlanError("no such key")])
def test_what_cannot_pass_is_not_tried_again(
    start: Callable[[], FlowRun], client: SyncPrefectClient, error: Exception
) -> None:
    errors[:] = [error]
    state = attempt(client, start())
    assert (state.name, state.message) == ("Failed", str(error))


def test_others_run_while_a_run_waits(client: SyncPrefectClient, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    api = str(client.api_url)
    with serving(tmp_path / "log", "tests.flows.waiting", PREFECT_API_URL=api) as process:
        served = [eventually(lambda name=name: deployment(client, name)) for name in NAMES]

        def start(number: int) -> UUID:
            parameters = {"file": str(file)}
            return client.create_flow_run_from_deployment(
                served[number].id, parameters=parameters
            ).id

        def history(run: UUID) -> list[State]:
            states = client.read_flow_run_states(run)
            return sorted(states, key=lambda state: state.timestamp)

        def ended(run: UUID) -> list[State]:
            states = history(run)
            return states if states[-1].is_final() else []

        waiting, other = start(0), start(1)
        first, second = (eventually(lambda run=run: ended(run)) for run in (waiting, other))
        process.send_signal(signal.SIGINT)
        process.wait(END)
    names = [state.name for state in first]
    assert names[-1] == "Completed"
    assert names.count("AwaitingRetry") == 1
    put_off = first[names.index("AwaitingRetry")]
    assert put_off.message == "busy; tried again in 0.05 min"
    assert second[-1].name == "Completed"
    assert put_off.timestamp < second[-1].timestamp < first[-1].timestamp


def test_on_the_command_line_nothing_is_tried_again(server: None) -> None:
    errors[:] = [Transient("busy"), Transient("busy")]
    state = raising(return_state=True)
    assert (state.name, state.message) == ("Failed", "busy")
    assert len(errors) == 1


def test_another_dvc_at_work_may_pass(toy: Toy) -> None:
    toy.write(slow={"cmd": "sleep 1000", "outs": ["b"]})
    command = [sys.executable, "-m", "dvc", "repro", "slow"]
    options = {"stdout": subprocess.PIPE, "text": True, "start_new_session": True}
    with subprocess.Popen(command, **options) as other:
        eventually(lambda: "Running stage" in other.stdout.readline())
        with pytest.raises(Transient, match="is busy"):
            list(Project(toy.folder).run(["b=2"]))
        os.killpg(other.pid, signal.SIGTERM)


def test_a_queue_that_another_dvc_holds_may_pass(toy: Toy) -> None:
    with Queue(toy.folder) as queue, Repo(toy.folder).lock, pytest.raises(Transient, match="lock"):
        queue.add({"one": {"b": 2}})

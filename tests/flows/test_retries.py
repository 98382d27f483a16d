"""What is tried again, and what is not."""

import os
import signal
import subprocess
import sys

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.dvc_project import Project, ProjectError, Transient
from flows.plan import PlanError
from flows.retries import told
from tests.flows.toy import Toy, eventually

errors: list[Exception] = []  # what the flow raises, one a time


@flow
@told
def raising() -> State:
    if errors:
        raise errors.pop(0)
    return Completed(message="at last")


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flows run as if of a deployment, and wait for less long."""
    monkeypatch.setenv("PREFECT__RUNTIME__DEPLOYMENT__ID", "a deployment")
    monkeypatch.setattr("flows.retries.DELAYS", (0.01, 0.02))


def run() -> tuple[str, str | None]:
    state = raising(return_state=True)
    return state.name, state.message


def test_a_deployment_tries_again_what_may_pass(deployed: None, client: SyncPrefectClient) -> None:
    errors[:] = [Transient("busy"), Transient("out of reach")]
    state = raising(return_state=True)
    assert (state.name, state.message) == ("Completed", "at last")
    mine = FlowRunFilter(id=FlowRunFilterId(any_=[state.state_details.flow_run_id]))

    def waits() -> list[tuple[str, str]]:
        found = client.read_task_runs(flow_run_filter=mine, limit=50, sort="ID_DESC")
        return sorted((each.name, each.state.message) for each in found if each.state.is_final())

    expected = [("wait", "0.01 s: busy"), ("wait", "0.02 s: out of reach")]
    eventually(lambda: waits() == expected)

    errors[:] = [Transient("busy")] * 3
    assert run() == ("Failed", "busy")
    assert not errors


@pytest.mark.parametrize("error", [ProjectError("no such stage"), PlanError("no such key")])
def test_what_cannot_pass_is_not_tried_again(deployed: None, error: Exception) -> None:
    errors[:] = [error, error]
    assert run() == ("Failed", str(error))
    assert errors == [error]


def test_on_the_command_line_nothing_is_tried_again(server: None) -> None:
    errors[:] = [Transient("busy"), Transient("busy")]
    assert run() == ("Failed", "busy")
    assert len(errors) == 1


def test_another_dvc_at_work_may_pass(toy: Toy) -> None:
    toy.write(slow={"cmd": "sleep 1000", "outs": ["b"]})
    command = [sys.executable, "-m", "dvc", "repro", "slow"]
    options = {"stdout": subprocess.PIPE, "text": True, "start_new_session": True}
    with subprocess.Popen(command, **options) as other:
        eventually(lambda: "Running stage" in other.stdout.readline())
        with pytest.raises(Transient, match="is busy"):
            list(Project(toy.folder).run(["b=2"]))
        os.killpg(other.pid, signal.SIGINT)

"""What Prefect has of a run: states, edges, logs, artifact; and the command line."""

import json
import os
import signal
import subprocess
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, LogFilter
from prefect.client.schemas.objects import State, TaskRun
from prefect.utilities.callables import parameter_schema

from experiments.dvc_project import UNCHANGED
from flows.reproduce import main, reproduce
from tests import forked_python
from tests.toy import ROOT, Toy, eventually


def run_id(state: State) -> UUID:
    return state.state_details.flow_run_id


def tasks(client: SyncPrefectClient, state: State) -> dict[str, TaskRun]:
    """The task runs of a flow run, by name; they reach the server's pages with a delay."""
    runs = FlowRunFilter(id={"any_": [run_id(state)]})

    def ended() -> list[TaskRun]:
        task_runs = client.read_task_runs(flow_run_filter=runs, limit=50, sort="ID_DESC")
        ended = task_runs and all(run.state.is_final() for run in task_runs)
        return task_runs if ended else []

    return {run.name: run for run in eventually(ended)}


def log(client: SyncPrefectClient, run: UUID, last: str) -> list[str]:
    """The log of a task run, as soon as ``last`` is in it."""

    def lines() -> list[str]:
        logs = LogFilter(task_run_id={"any_": [run]})
        records = client.read_logs(logs, limit=200, offset=0, sort="TIMESTAMP_ASC")
        messages = [record.message for record in records]
        return messages if last in messages else []

    return eventually(lines)


def test_a_change(toy: Toy, client: SyncPrefectClient) -> None:
    toy.params(b=2)
    state = reproduce(return_state=True)
    assert (state.name, state.message) == ("Completed", "Ran last")
    runs = tasks(client, state)
    assert set(runs) == {"first", "side", "last"}
    for stage in ("first", "side"):
        assert runs[stage].state.type.value == "COMPLETED"
        assert (runs[stage].state.name, runs[stage].state.message) == ("Cached", UNCHANGED)
    assert runs["last"].state.name == "Completed"
    assert runs["last"].state.message.startswith("Ran in ")
    assert runs["last"].state.message.endswith(" s: b modified")
    assert [source.id for source in runs["last"].task_inputs["wait_for"]] == [runs["first"].id]
    assert "wait_for" not in runs["first"].task_inputs
    lines = log(client, runs["last"].id, "scoring 2")
    assert lines[:3] == ["Running stage 'last':", "> python score.py", "scoring 2"]


def test_nothing_to_do(toy: Toy, client: SyncPrefectClient) -> None:
    state = reproduce(return_state=True)
    assert state.message == "Nothing had to run"
    assert {run.state.name for run in tasks(client, state).values()} == {"Cached"}


def test_a_new_stage_and_a_target(toy: Toy, client: SyncPrefectClient) -> None:
    toy.write(brand_new={"cmd": "cp side.txt new.txt", "deps": ["side.txt"], "outs": ["new.txt"]})
    state = reproduce(["brand_new"], return_state=True)
    runs = tasks(client, state)
    assert set(runs) == {"first", "side", "brand_new"}
    assert [s.id for s in runs["brand_new"].task_inputs["wait_for"]] == [runs["side"].id]


def test_an_experiment_and_its_metrics(toy: Toy, client: SyncPrefectClient) -> None:
    state = reproduce(overrides=["b=4"], return_state=True)
    assert state.message == "Ran last"
    assert tasks(client, state)["first"].state.name == "Cached"
    answer = client.request("GET", "/artifacts/{key}/latest", path_params={"key": "metrics"})
    artifact = answer.json()
    assert artifact["flow_run_id"] == str(run_id(state))
    name = toy.dvc("exp", "list", "--name-only").split()[-1]
    assert artifact["description"] == f"Experiment {name}"
    assert json.loads(artifact["data"]) == [
        {"file": "score.json", "metric": "accuracy", "value": 0.5},
        {"file": "score.json", "metric": "label.cat", "value": 4},
    ]


def test_a_failure(toy: Toy, client: SyncPrefectClient) -> None:
    toy.write(first={"cmd": "for i in $(seq 30); do echo line $i; done; exit 3", "outs": ["a.txt"]})
    state = reproduce(return_state=True)
    assert state.name == "Failed"
    assert state.message in (
        "Stage first failed: line 30; not run: side, last",
        "Stage first failed: line 30; not run: last, side",
    )
    runs = tasks(client, state)
    assert set(runs) == {"first"}
    message = runs["first"].state.message.splitlines()
    assert message[0].endswith("exited with 3")
    assert message[-1] == "line 30"
    assert "line 1" not in message


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"targets": ["nonsense"]}, "Stage 'nonsense' not found inside 'dvc.yaml' file"),
        ({"overrides": ["b"]}, "'b' is not KEY=VALUE"),
        ({"overrides": ["nonsense=1"]}, "Could not override 'nonsense'"),
    ],
)
def test_a_mistake_is_one_sentence(
    toy: Toy, client: SyncPrefectClient, parameters: dict[str, Any], sentence: str
) -> None:
    toy.params(b=7)
    state = reproduce(**parameters, return_state=True)
    assert state.name == "Failed"
    assert sentence in state.message
    assert "Traceback" not in state.message
    assert client.read_flow_run(run_id(state)).run_count <= 1
    assert "b: 1" in toy.git("show", "HEAD:params.yaml")
    assert "b: 7" in (toy.folder / "params.yaml").read_text()
    assert toy.git("diff", "--name-only") == "params.yaml"


def test_the_form_explains_its_fields() -> None:
    schema = parameter_schema(reproduce).model_dump()
    assert schema["required"] == []
    for field in schema["properties"].values():
        assert len(field["description"]) > len(field["title"])
    assert schema["properties"]["overrides"]["items"] == {"type": "string", "pattern": ".="}


def test_command_line(toy: Toy, client: SyncPrefectClient) -> None:
    toy.params(b=3)
    with pytest.raises(SystemExit) as done:
        main(["last"])
    assert done.value.code == 0
    assert "0.375" in (toy.folder / "score.json").read_text()
    with pytest.raises(SystemExit) as done:
        main(["last", "-S", "b=8", "--set-param", "a=in.txt", "--force"])
    assert done.value.code == 0
    assert "1.0" in (toy.folder / "score.json").read_text()
    with pytest.raises(SystemExit) as done:
        main(["nonsense"])
    assert done.value.code == "reproduce: Stage 'nonsense' not found inside 'dvc.yaml' file"


def test_command_line_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["-S", "b"])
    assert "'b' is not KEY=VALUE" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_every_process(
    toy: Toy, client: SyncPrefectClient, number: signal.Signals
) -> None:
    toy.write(slow={"cmd": "sleep 1000 | sleep 1000", "outs": ["slow.txt"]})
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PREFECT_API_URL": str(client.api_url)}
    process = subprocess.Popen(
        [forked_python.executable(), "-m", "flows.reproduce", "slow"],
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    both = 2
    eventually(lambda: toy.sleeping() == both)
    process.send_signal(number)
    assert process.wait(30) != 0
    assert toy.sleeping() == 0

"""The long-lived process: its deployment, the runs it makes, its end."""

import asyncio
import os
import re
import shutil
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from uuid import UUID

import httpx
import psutil
import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import DeploymentResponse
from prefect.events.filters import EventFilter, EventNameFilter, EventResourceFilter
from prefect.exceptions import ObjectNotFound
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_HOME,
    PREFECT_SERVER_API_PORT,
    temporary_settings,
)
from prefect.states import Cancelling, Running

from flows.deployments import deployment_name
from flows.outages import AskingObserver
from flows.reproduce import reproduce
from flows.server import Server, ServerError, healthy
from tests import forked_python
from tests.toy import ROOT, Toy, eventually

END = 120  # seconds
CLOCK_WORDS = ("0 4 * * 1", "Europe/Berlin")
CLOCK = "retrain:\n  cron: 0 4 * * 1\n  timezone: Europe/Berlin\n"


@contextmanager
def serving(
    log: Path, module: str = "flows.serve", **settings: str
) -> Iterator[subprocess.Popen[bytes]]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PREFECT_RUNNER_POLL_FREQUENCY": "1", **settings}
    with (
        log.open("wb") as out,
        subprocess.Popen(
            [forked_python.executable(), "-m", module],
            env=env,
            stdout=out,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def deployment(client: SyncPrefectClient, flow: str) -> DeploymentResponse | None:
    """The deployment of the flow of the project in the current folder, once it is there."""
    try:
        return client.read_deployment_by_name(f"{flow}/{deployment_name(Path.cwd())}")
    except ObjectNotFound:
        return None


def test_joins_a_server_and_serves(toy: Toy, client: SyncPrefectClient, tmp_path: Path) -> None:
    toy.write(slow={"cmd": "sleep 1000 | sleep 1000", "outs": ["slow.txt"]})
    api = str(client.api_url)
    (tmp_path / "runner_storage").touch()  # as where it is the folder of another user
    settings = {"PREFECT_API_URL": api, "TMPDIR": str(tmp_path)}
    with serving(tmp_path / "log", **settings) as process:
        served = eventually(lambda: deployment(client, "reproduce"))
        address = api.rstrip("/").removesuffix("/api")
        eventually(lambda: f" at {address} (" in (tmp_path / "log").read_text())

        def state(run: FlowRun) -> str:
            return client.read_flow_run(run.id).state.name

        def start(**parameters: object) -> FlowRun:
            return client.create_flow_run_from_deployment(served.id, parameters=parameters)

        with serving(tmp_path / "second", PREFECT_API_URL=api) as second:
            assert second.wait(END) == 1
        assert "running for this project already" in (tmp_path / "second").read_text()
        done = start(targets=["last"])
        eventually(lambda: state(done) == "Completed")
        going, both = start(targets=["slow"]), 2
        eventually(lambda: toy.sleeping() == both)
        process.send_signal(signal.SIGINT)
        assert process.wait(END) == 0
        assert toy.sleeping() == 0
        assert state(going) == "Cancelled"
        assert not client.read_deployment(served.id).paused
    assert healthy(api.rstrip("/"))  # the server is somebody else's


def free_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def test_a_server_of_ones_own_comes_back_and_is_shared(
    toy: Toy,
    reproduced: Path,
    prefect_home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (toy.folder / "params.yaml").write_text(f"a: in.txt\n{CLOCK}b: 1\n")
    toy.write(slow={"cmd": "sleep 1000", "outs": ["slow.txt"]})
    port = free_port()
    settings = {
        "PREFECT_API_URL": "",
        "PREFECT_SERVER_API_PORT": port,
        "PREFECT_HOME": str(shutil.copytree(prefect_home, tmp_path / "prefect")),
    }
    logs = [tmp_path / "log", tmp_path / "second"]
    with serving(logs[0], **settings) as first, ExitStack() as clients:
        url = eventually(
            lambda: re.search(rf" at (http://127\.0\.0\.1:{port}) ", logs[0].read_text())
        )[1]
        client = clients.enter_context(SyncPrefectClient(f"{url}/api"))
        with urllib.request.urlopen(url) as page:
            assert b"<html" in page.read()
        [schedule] = deployment(client, "retrain").schedules
        assert (schedule.schedule.cron, schedule.schedule.timezone) == CLOCK_WORDS

        def state(run: FlowRun) -> str:
            try:
                return client.read_flow_run(run.id).state.name
            except httpx.HTTPError:
                return "unknown"

        def start(project: DeploymentResponse, target: str) -> FlowRun:
            return client.create_flow_run_from_deployment(
                project.id, parameters={"targets": [target]}
            )

        mine = deployment(client, "reproduce")
        going, before = start(mine, "slow"), server_at(port)
        eventually(lambda: toy.sleeping() == 1)
        before.kill()
        eventually(lambda: server_at(port) not in (None, before) and healthy(f"{url}/api"))
        assert toy.sleeping() == 1
        client.set_flow_run_state(going.id, Cancelling())  # what the button in the pages does
        eventually(lambda: state(going) == "Cancelled")
        assert toy.sleeping() == 0

        # Another clone, in a folder of the same name.
        shutil.copytree(reproduced, tmp_path / "other" / "toy", symlinks=True)
        monkeypatch.chdir(tmp_path / "other" / "toy")
        with serving(logs[1], **settings) as second:
            eventually(lambda: " at http" in logs[1].read_text())
            theirs = deployment(client, "reproduce")
            first.send_signal(signal.SIGTERM)
            assert first.wait(END) == 0
            eventually(lambda: server_at(port) and healthy(f"{url}/api"))
            done = start(theirs, "last")
            eventually(lambda: state(done) == "Completed")
            assert client.read_deployment(mine.id).name != theirs.name
            second.send_signal(signal.SIGTERM)
            assert second.wait(END) == 0
    assert not healthy(f"{url}/api")
    assert "Traceback" not in "".join(log.read_text() for log in logs)


def test_a_cancellation_that_the_websocket_does_not_tell(server: None) -> None:
    others = EventFilter(
        event=EventNameFilter(name=["prefect.flow-run.Cancelling"]),
        resource=EventResourceFilter(id=["prefect.flow-run.of-somebody-else"]),
    )

    async def cancel() -> None:
        cancelled = asyncio.Queue[UUID]()
        observer = AskingObserver(cancelled.put_nowait, polling_interval=0.1, event_filter=others)
        async with get_client() as client, observer:
            run = await client.create_flow_run(reproduce, state=Running())
            observer.add_in_flight_flow_run_id(run.id)
            await client.set_flow_run_state(run.id, Cancelling())
            assert await asyncio.wait_for(cancelled.get(), END) == run.id

    asyncio.run(cancel())


def server_at(port: str) -> psutil.Process | None:
    """The Prefect server that was started with the port."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if {"server", port} <= {*process.cmdline()}:
                return process
    return None


def test_another_s_server_is_not_joined_unasked(client: SyncPrefectClient, tmp_path: Path) -> None:
    home, port = tmp_path / "prefect", client.api_url.port
    settings = {PREFECT_API_URL: "", PREFECT_SERVER_API_PORT: port, PREFECT_HOME: home}
    with temporary_settings(settings), pytest.raises(ServerError) as error, Server():
        pass
    assert f"is not the Prefect server of your PREFECT_HOME, {home}" in str(error.value)
    assert f"PREFECT_API_URL=http://127.0.0.1:{port}/api" in str(error.value)


def test_another_s_server_that_stays_away_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("flows.server.AWAY", 0.5)
    monkeypatch.setattr("flows.server.LOOK", 0.1)
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        server = Server()
    with pytest.raises(ServerError, match=r"has not answered for 0\.5 seconds"):
        asyncio.run(server.watch())


def test_a_server_that_does_not_answer(toy: Toy, tmp_path: Path) -> None:
    with serving(tmp_path / "log", PREFECT_API_URL="http://127.0.0.1:9/api") as process:
        assert process.wait(END) == 1
    assert "no Prefect server answers there" in (tmp_path / "log").read_text()

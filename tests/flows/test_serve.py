"""The long-lived process: its deployment, the runs it makes, its end."""

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound

from flows.serve import healthy
from tests.flows.toy import ROOT, Toy, eventually

END = 40  # seconds
CLOCK = "retrain:\n  cron: 0 4 * * 1\n  timezone: Europe/Berlin\n"


@contextmanager
def serving(
    log: Path, module: str = "flows.serve", **settings: str
) -> Iterator[subprocess.Popen[bytes]]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PREFECT_RUNNER_POLL_FREQUENCY": "1", **settings}
    with (
        log.open("wb") as out,
        subprocess.Popen(
            [sys.executable, "-m", module], env=env, stdout=out, stderr=subprocess.STDOUT
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def deployment(client: SyncPrefectClient, flow: str) -> DeploymentResponse | None:
    """The deployment of the flow, once it is there."""
    try:
        return client.read_deployment_by_name(f"{flow}/{flow}")
    except ObjectNotFound:
        return None


def test_joins_a_server_and_serves(toy: Toy, client: SyncPrefectClient, tmp_path: Path) -> None:
    toy.write(slow={"cmd": "sleep 1000 | sleep 1000", "outs": ["slow.txt"]})
    api = str(client.api_url)
    with serving(tmp_path / "log", PREFECT_API_URL=api) as process:
        found = eventually(lambda: deployment(client, "reproduce"))
        address = api.rstrip("/").removesuffix("/api")
        eventually(lambda: f"runs at {address} " in (tmp_path / "log").read_text())

        def state(run: FlowRun) -> str:
            return client.read_flow_run(run.id).state.name

        def start(**parameters: object) -> FlowRun:
            return client.create_flow_run_from_deployment(found.id, parameters=parameters)

        done = start(targets=["last"])
        eventually(lambda: state(done) == "Completed")
        going, both = start(targets=["slow"]), 2
        eventually(lambda: toy.sleeping() == both)
        process.send_signal(signal.SIGINT)
        assert process.wait(END) == 0
        assert toy.sleeping() == 0
        assert state(going) == "Cancelled"
        assert not client.read_deployment(found.id).paused
    assert healthy(api.rstrip("/"))  # the server is somebody else's


def test_starts_a_server_and_stops_it(toy: Toy, tmp_path: Path) -> None:
    (toy.folder / "params.yaml").write_text(f"a: in.txt\n{CLOCK}b: 1\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    settings = {"PREFECT_SERVER_API_PORT": port, "PREFECT_HOME": str(tmp_path / "prefect")}
    log = tmp_path / "log"
    with serving(log, PREFECT_API_URL="", **settings) as process:
        url = eventually(
            lambda: re.search(rf"runs at (http://127\.0\.0\.1:{port}) ", log.read_text()), 90
        )[1]
        with urllib.request.urlopen(url) as page:
            assert b"<html" in page.read()
        process.send_signal(signal.SIGTERM)
        assert process.wait(END) == 0
    assert not healthy(f"{url}/api")

    # The server alone knows the schedule.
    command = [sys.executable, "-m", "prefect", "server", "start", "--port", port]
    with subprocess.Popen(command, env=os.environ | settings, stdout=subprocess.DEVNULL) as process:
        try:
            eventually(lambda: healthy(f"{url}/api"), 90)
            with SyncPrefectClient(f"{url}/api") as client:
                found = client.read_deployment_by_name("retrain/retrain")
                assert not found.paused
                [schedule] = found.schedules
                assert schedule.active
                assert (schedule.schedule.cron, schedule.schedule.timezone) == (
                    "0 4 * * 1",
                    "Europe/Berlin",
                )
                eventually(client.read_flow_runs)  # those that are due next
        finally:
            process.terminate()


def test_a_server_that_does_not_answer(toy: Toy, tmp_path: Path) -> None:
    with serving(tmp_path / "log", PREFECT_API_URL="http://127.0.0.1:9/api") as process:
        assert process.wait(END) == 1
    assert "no Prefect server answers there" in (tmp_path / "log").read_text()

"""What deployments keep, and which runs are ended, when ``make ui`` is started anew."""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.runner import Runner
from prefect.states import Cancelling, Running

from flows.deployments import SLUG, deployment_name, end_lost_runs, register
from flows.retrain import retrain

NIGHTLY = CronSchedule(cron="0 3 * * *", timezone="UTC")
WEEKLY = CronSchedule(cron="0 4 * * 1", timezone="Europe/Berlin")
HOURLY = CronSchedule(cron="0 * * * *", timezone="UTC")

Start = Callable[[CronSchedule | None], DeploymentResponse]


@pytest.fixture
def start(client: SyncPrefectClient) -> Iterator[Start]:
    """A function that registers the deployment as ``make ui`` does when the file says that."""
    ids: list[UUID] = []

    def start(clock: CronSchedule | None) -> DeploymentResponse:
        ids.append(asyncio.run(register(Runner(), retrain, "Vögel und Bären-3f2a91", clock)))
        return client.read_deployment(ids[-1])

    yield start
    client.delete_deployment(ids[-1])


def clocks(deployment: DeploymentResponse) -> list[tuple[str, str, bool]]:
    """Cron, time zone and whether it is active."""
    return sorted(
        (each.schedule.cron, each.schedule.timezone, each.active) for each in deployment.schedules
    )


def test_a_restart_keeps_what_was_set_in_the_pages(
    client: SyncPrefectClient, start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    first = start(NIGHTLY)
    [schedule] = first.schedules
    client.update_deployment(
        first.id, DeploymentUpdate(parameters={"force": True}, paused=True, tags=["mine"])
    )
    client.update_deployment_schedule(first.id, schedule.id, active=False)
    client.create_deployment_schedules(first.id, [(WEEKLY, True)])
    again = start(NIGHTLY)
    assert again.id == first.id
    assert (again.parameters, again.paused, again.tags) == ({"force": True}, True, ["mine"])
    assert clocks(again) == [("0 3 * * *", "UTC", False), ("0 4 * * 1", "Europe/Berlin", True)]

    # What is new in the file is applied; what is paused stays paused.
    assert clocks(start(HOURLY))[0] == ("0 * * * *", "UTC", False)
    assert [each[0] for each in clocks(start(None))] == ["0 4 * * 1"]
    assert [each[0] for each in clocks(start(HOURLY))] == ["0 * * * *", "0 4 * * 1"]
    assert not capsys.readouterr().out


def test_a_schedule_that_the_page_changed_stays(
    client: SyncPrefectClient, start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    first = start(NIGHTLY)
    [schedule] = first.schedules
    assert schedule.slug == SLUG
    client.update_deployment_schedule(first.id, schedule.id, schedule=WEEKLY)
    for clock, file in ((NIGHTLY, "0 3 * * * (UTC)"), (HOURLY, "0 * * * * (UTC)"), (None, "never")):
        assert clocks(start(clock)) == [("0 4 * * 1", "Europe/Berlin", True)]
        printed = capsys.readouterr().out
        assert "the schedule is 0 4 * * 1 (Europe/Berlin), as set in Prefect's pages" in printed
        assert printed.rstrip().endswith(f"in params.yaml says {file}")
    # Once both say the same, the file leads again.
    start(WEEKLY)
    assert clocks(start(HOURLY)) == [("0 * * * *", "UTC", True)]
    assert not capsys.readouterr().out

    client.delete_deployment_schedule(first.id, schedule.id)
    assert start(HOURLY).schedules == []
    assert "the schedule is never, as set in Prefect's pages" in capsys.readouterr().out


def test_runs_whose_process_is_gone_are_ended(
    client: SyncPrefectClient, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = start(None).id
    other = retrain.to_deployment("of another project").apply()
    runs = [client.create_flow_run_from_deployment(each).id for each in (mine, mine, mine, other)]
    for run in runs:
        client.set_flow_run_state(run, Running(), force=True)
    _, alive, cancelling, _ = runs
    client.set_flow_run_state(cancelling, Cancelling())
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", str(alive))
    command = [sys.executable, "-c", "import time; time.sleep(1000)"]
    with subprocess.Popen([*command, "prefect.engine"]) as process:
        asyncio.run(end_lost_runs([mine]))
        process.kill()
    states = [client.read_flow_run(run).state for run in runs]
    assert [each.name for each in states] == ["Crashed", "Running", "Cancelled", "Running"]
    assert states[0].message.startswith("Its process is gone")


def test_two_clones_have_two_names(tmp_path: Path) -> None:
    names = set()
    for parent in ("a", "b"):
        folder = tmp_path / parent / "birds & bears"
        folder.mkdir(parents=True)
        names.add(deployment_name(folder))
        (tmp_path / f"link to {parent}").symlink_to(folder)
        assert deployment_name(tmp_path / f"link to {parent}") in names
    assert len(names) == 2
    assert all(name.startswith("birds - bears-") for name in names)

"""The deployments of a project: their name, and what they keep of what people set in the pages."""

import hashlib
import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import psutil
from prefect import Flow
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import DeploymentSchedule, StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import (
    SCHEDULE_TYPES,
    CronSchedule,
    IntervalSchedule,
    NoSchedule,
)
from prefect.exceptions import ObjectNotFound
from prefect.runner import Runner
from prefect.schedules import Cron
from prefect.states import Cancelled, Crashed

SLUG = "params-yaml"  # of the schedule that was made from it
NEVER = "never"
# What is ours to change of a deployment that exists; the rest of it people may have set.
OURS = {"entrypoint", "description", "version"}


def deployment_name(root: Path) -> str:
    """What the deployments of the project in ``root`` are called, each after its flow's name.

    The folder's name, and digits that tell it from other folders of that name.
    """
    path = root.resolve()
    digits = hashlib.sha256(os.fsencode(path)).hexdigest()[:6]
    return f"{re.sub('[/%&<>]', '-', path.name)}-{digits}"  # Prefect takes none of these


async def register(runner: Runner, flow: Flow, name: str, clock: CronSchedule | None) -> UUID:
    """Registers the flow's deployment; one that exists keeps what was set in the pages.

    Args:
        clock: the schedule that ``params.yaml`` asks for.

    Returns:
        Its id.
    """
    async with get_client() as client:
        try:
            before = await client.read_deployment_by_name(f"{flow.name}/{name}")
        except ObjectNotFound:
            before = None
        # The deployment's version says which schedule the file had when it was last looked at.
        version = await _reschedule(client, before, clock) if before else when(clock)
    schedule = Cron(clock.cron, timezone=clock.timezone, slug=SLUG) if clock else None
    deployment = await flow.ato_deployment(name, schedule=schedule, version=version)
    if before:
        deployment.schedules = None
        deployment.model_fields_set.intersection_update(OURS)
    return await runner.aadd_deployment(deployment)


async def _reschedule(
    client: PrefectClient, before: DeploymentResponse, clock: CronSchedule | None
) -> str:
    """Applies what changed in the file, where the page has changed nothing; the new version."""
    existing = next((each for each in before.schedules if each.slug == SLUG), None)
    page, file = when(existing.schedule if existing else None), when(clock)
    if page not in (file, before.version):
        print(
            f"{before.name}: the schedule is {page}, as set in Prefect's pages; retrain.cron in "
            f"params.yaml says {file}"
        )
        return before.version or NEVER
    if page != file:
        await _apply(client, before.id, existing, clock)
    return file


async def _apply(
    client: PrefectClient,
    deployment: UUID,
    existing: DeploymentSchedule | None,
    clock: CronSchedule | None,
) -> None:
    """Makes ``clock`` the schedule of the deployment in place of the ``existing`` one."""
    if existing and clock:
        await client.update_deployment_schedule(deployment, existing.id, schedule=clock)
    elif existing:
        await client.delete_deployment_schedule(deployment, existing.id)
    else:
        new = DeploymentScheduleCreate(schedule=clock, slug=SLUG)
        await client.request(
            "POST",
            "/deployments/{id}/schedules",
            path_params={"id": deployment},
            json=[new.model_dump(mode="json", exclude_unset=True)],
        )


def when(schedule: SCHEDULE_TYPES | None) -> str:
    """A schedule in words, the same for two that mean the same."""
    if schedule is None or isinstance(schedule, NoSchedule):
        return NEVER
    if isinstance(schedule, IntervalSchedule):
        return f"every {schedule.interval}"
    rule = schedule.cron if isinstance(schedule, CronSchedule) else schedule.rrule
    return f"{rule} ({schedule.timezone or 'UTC'})"


async def end_lost_runs(deployments: Iterable[UUID]) -> None:
    """Ends the runs that count as running, but whose process is gone, so that people are notified.

    Nobody else may be starting runs of the deployments. What a work pool's worker started stays.
    """
    unfinished = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
    mine = FlowRunFilter(
        deployment_id={"any_": list(deployments)}, state={"type": {"any_": unfinished}}
    )
    alive = _runs_here()
    async with get_client() as client:
        for run in await client.read_flow_runs(flow_run_filter=mine):
            if run.work_pool_name or str(run.id) in alive:
                continue
            lost = "Its process is gone: it was killed, or the machine went down"
            end = Cancelled if run.state and run.state.is_cancelling() else Crashed
            await client.set_flow_run_state(run.id, end(message=lost))


def _runs_here() -> set[str]:
    """The ids of the runs that have a process; it goes on when who started it is killed."""
    ids = set()
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # ended meanwhile, or somebody else's
            # What a run has started inherits the variable, and may outlive it for a while.
            if "prefect.engine" in process.cmdline():
                ids.add(process.environ().get("PREFECT__FLOW_RUN_ID", ""))
    return ids

"""The DVC graph as a Prefect flow: a task a stage, its state, its output, the metrics at the end.

``python -m flows.reproduce [stage …] [-S train.lr=5e-4] [--force]``
"""

import argparse
import sys
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing, suppress
from functools import partial
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from pydantic import AfterValidator, Field

from experiments.dvc_project import Line, Project, ProjectError, stage_names
from experiments.params import params_of
from experiments.plan import PATIENCE, PlanError, split
from experiments.results import values_of
from flows.command import run
from flows.params import check_params
from flows.retries import failed_or_retried
from stages import printable
from stages.markdown import plain

LAST_LINES = 10  # of a failed stage's output, in the message of its task


def check_override(text: str) -> str:
    """``text`` as it is, where it reads ``KEY=VALUE``; else ValueError, as Pydantic wants it."""
    try:
        split(text)
    except PlanError as error:
        raise ValueError(str(error)) from error
    return text


def offer_stages(schema: dict[str, Any]) -> None:
    """Adds the stages of the project in the current folder to the JSON schema of a form's field."""
    with suppress(ProjectError):  # there is none: the module is imported from elsewhere
        if names := stage_names(Path.cwd()):
            schema["enum"] = names


Stage = Annotated[str, Field(json_schema_extra=offer_stages)]
Override = Annotated[
    str, AfterValidator(check_override), Field(json_schema_extra={"pattern": ".="})
]


@flow(description="Brings the stages of dvc.yaml up to date; runs only what changed.")
@failed_or_retried
def reproduce(
    targets: Sequence[Stage] = (), overrides: Sequence[Override] = (), force: bool = False
) -> State:
    """Reproduces the DVC project in the current folder, a task a stage.

    Args:
        targets: Stages to bring up to date, with all that they depend on. None: every stage.
        overrides: Parameters to try in place of those in params.yaml, each as key=value, like
            train.lr=5e-4. With any, the run is an experiment (dvc exp run).
        force: Run the stages even where nothing changed.
    """
    project = Project(Path.cwd(), targets)
    states = run_stages(project, overrides, force)
    if failed := failure(project, states):
        return Failed(message=failed)
    where = f"Experiment {plain(project.experiment)}" if project.experiment else "Workspace"
    create_table_artifact(_rows(project.metrics()), key="metrics", description=where)
    ran = [stage for stage, state in states.items() if state.name != "Cached"]
    return Completed(message=f"Ran {', '.join(ran)}" if ran else "Nothing had to run")


def run_stages(
    project: Project, overrides: Sequence[str] = (), force: bool = False, name: str | None = None
) -> dict[str, State]:
    """Runs ``project``, a task a stage; how each stage ended, as far as it came.

    Raises:
        PlanError: a value of its ``params.yaml`` is wrong; nothing has run.
        ProjectError: DVC stopped outside of any stage.
    """
    log = get_run_logger()
    states: dict[str, State] = {}
    patience = params_of(project.root).get(PATIENCE)
    check = partial(check_params, project.root, overrides)
    with closing(project.run(overrides, force, name, patience, check)) as lines:
        for stage, part in groupby(lines, key=attrgetter("stage")):
            if stage is None:
                for line in part:
                    log.info(line.text)
                continue
            upstream = [states[name] for name in project.upstream[stage] if name in states]
            states[stage] = run_stage.with_options(name=stage, task_run_name=stage)(
                part, wait_for=upstream, return_state=True
            )
    return states


def failure(project: Project, states: Mapping[str, State]) -> str:
    """Which stage failed, its last words, and what was not run for that; empty where none did."""
    failed = next((stage for stage, state in states.items() if state.is_failed()), None)
    if failed is None:
        return ""
    left = [stage for stage in project.upstream if stage not in states]
    lines = (states[failed].message or "").splitlines()
    last = [line for line in lines if not line.startswith("> ")][-1]
    return f"Stage {failed} failed: {last}" + (f"; not run: {', '.join(left)}" if left else "")


@task(cache_policy=NO_CACHE, persist_result=False)
def run_stage(lines: Iterable[Line]) -> State:
    """Follows one stage: its output to the log, how it ended as the state."""
    log = get_run_logger()
    start = time.perf_counter()
    last: deque[str] = deque(maxlen=LAST_LINES)
    outcome, reason, failure = None, "", None
    for line in lines:
        log.info(line.text)
        if line.outcome == "failed":
            failure = line.text
        elif line.outcome:
            outcome, reason = line.outcome, line.reason
        else:
            last.append(line.text)
    if failure:
        return Failed(message="\n".join([failure, *last]))
    if outcome == "cached":
        return Completed(name="Cached", message=reason)
    return Completed(message=f"Ran in {time.perf_counter() - start:.1f} s: {reason}")


def _rows(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """A row a metric; nested keys are joined by dots."""
    return [
        {"file": path, "metric": key, "value": value}
        for path, content in metrics.items()
        for key, value in values_of(content).items()
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m flows.reproduce",
        description="Bring the stages of dvc.yaml up to date, as a flow that Prefect shows.",
    )
    parser.add_argument("targets", nargs="*", metavar="stage", help="default: every stage")
    parser.add_argument(
        "-S",
        "--set-param",
        dest="overrides",
        action="append",
        default=[],
        type=_override,
        metavar="KEY=VALUE",
        help="try a parameter, as an experiment (dvc exp run); may be repeated",
    )
    parser.add_argument("-f", "--force", action="store_true", help="run what did not change too")
    options = vars(parser.parse_args(arguments))
    state = run(reproduce, **options)
    sys.exit(0 if state.is_completed() else printable(f"reproduce: {state.message}"))


def _override(text: str) -> str:
    try:
        return check_override(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


if __name__ == "__main__":
    main()

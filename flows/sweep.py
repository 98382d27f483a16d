"""Many experiments as one flow: presets × a grid, some at a time, none lost.

``python -m flows.sweep [preset or sweep file …] [--grid train.lr=1e-4,1e-3] [-S train.epochs=5]``
"""

import argparse
import json
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Annotated, Any
from uuid import UUID

from prefect import flow, get_run_logger, task
from prefect.artifacts import (
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.states import Completed, Failed
from pydantic import Field

from experiments.devices import slots
from experiments.dvc_project import Project, ProjectError, Queue
from experiments.plan import (
    PATIENCE,
    Params,
    PlanError,
    Planned,
    complaint,
    differences,
    plan,
    read,
)
from experiments.results import common_stages, headline, results, unusable
from flows.command import run
from flows.params import check_params
from flows.reproduce import Override
from flows.retries import failed_or_retried
from stages.cores import cores

EPILOG = """\
Values are YAML: 1e-4, null, true, [0.08,1], 'a text, with commas'. A sweep file has presets (a list
of files), a grid (a list of values by key), or both. Each experiment is one of DVC's, named after
its preset and its point of the grid, s4-resnet34-lr=1e-5: see dvc queue status, dvc exp show and
python -m experiments.compare.

Stopped and started again it goes on with what is left; what failed is tried again. When the code
or other parameters have changed meanwhile, the names are taken: commit the change, or say --force
or --prefix.

  python -m flows.sweep presets/s4/*.yaml
  python -m flows.sweep presets/sweeps/s1-batch.yaml -S train.epochs=1 --prefix short
  python -m flows.sweep --grid train.batch_size=16,32,64 --grid train.lr=1e-5,1e-4,1e-3
"""

# Seconds of waiting at a time: where a source has imported Polars, Ctrl-C does not end a wait, for
# Polars handles SIGINT with SA_RESTART.
LOOK = 1


@flow(description="Runs presets × a grid as DVC experiments; goes on where it was stopped.")
@failed_or_retried
def sweep(
    files: Sequence[str] = (),
    grid: Sequence[Override] = (),
    overrides: Sequence[Override] = (),
    jobs: Annotated[int, Field(ge=1)] | None = None,
    prefix: str = "",
    force: bool = False,
) -> State:
    """Runs those experiments that are not there yet, in the DVC project in the current folder.

    Args:
        files: Presets, like presets/s4/resnet34.yaml, and sweep files, like
            presets/sweeps/s1-batch.yaml, which name presets and a grid of their own.
        grid: Values to try, each as key=value,value, like train.lr=1e-4,1e-3. Every preset is
            run with every combination.
        overrides: Parameters to set for all, each as key=value, like train.epochs=5. They win
            over presets.
        jobs: How many experiments run at a time. None: one for each GPU, one without any.
        prefix: Begins the name of every experiment.
        force: Replace experiments of the same name that had other parameters or other code.
    """
    log = get_run_logger()
    root = Path.cwd()
    planned = plan(root, files, grid, overrides, prefix)
    current = read(root)
    check(root, planned, current)
    project = Project(root)
    project.check_readable()
    shared = common_stages(project, planned, current)
    with Queue(root) as queue:
        done = results(queue, planned, current, force)
        left = {each.name: each.changes for each in planned if each.name not in done}
        log.info("%d experiments to run, %d there already", len(left), len(done))
        if left:
            queue.add(left)
        states = {
            name: keep.with_options(name=name, task_run_name=name)(
                _sentence(headline(experiment)), return_state=True
            )
            for name, experiment in done.items()
        }
        wanted = {name: current | changes for name, changes in left.items()}
        states |= run_all(queue, wanted, slots(jobs), shared, len(planned))
        rows = table(queue, {each.name: states[each.name] for each in planned})
    create_table_artifact(rows, key="sweep", description=f"{len(rows)} experiments")
    log.info("Side by side, with intervals and costs: python -m experiments.compare")
    failed = [name for name, state in states.items() if not state.is_completed()]
    if failed:
        return Failed(message=f"{len(failed)} of {len(states)} failed: {', '.join(failed)}")
    return Completed(message=f"{len(left)} ran, {len(done)} were there already")


def check(root: Path, planned: Sequence[Planned], current: Params) -> None:
    """Raises PlanError with what is wrong with the parameters of experiments, a line each."""

    def wrong(each: Planned) -> str:
        if text := complaint(each, current):
            return text
        try:
            # JSON is YAML.
            check_params(
                root, [f"{key}={json.dumps(value)}" for key, value in each.changes.items()]
            )
        except PlanError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(cores()) as pool:
        texts = dict(zip((each.name for each in planned), pool.map(wrong, planned), strict=True))
    if errors := [f"{name}: {text}" for name, text in texts.items() if text]:
        raise PlanError("\n".join(errors))


def run_all(
    queue: Queue,
    wanted: Mapping[str, Params],
    free: list[dict[str, str]],
    shared: set[str],
    total: int,
) -> dict[str, State]:
    """Runs queued experiments, one on each of the slots ``free`` at a time; returns their states.

    The first one runs alone until it is past the stages that are ``shared``, and leaves these in
    DVC's cache: else each of the first ones would run them.
    """
    states: dict[str, State] = {}
    waiting = deque(wanted)
    running: dict[PrefectFuture[State], tuple[str, dict[str, str]]] = {}
    events: SimpleQueue[PrefectFuture[State] | None] = SimpleQueue()  # one ended, or None: begun
    at_a_time, most = 1, len(free)
    bar = create_progress_artifact(100 * (1 - len(wanted) / total), key="sweep-progress")
    assert isinstance(bar, UUID)  # a coroutine in asynchronous code only

    def begun(stage: str) -> None:
        if stage not in shared:
            events.put(None)

    while waiting or running:
        while waiting and free and len(running) < at_a_time:
            name, slot = waiting.popleft(), free.pop(0)
            task_run = run_experiment.with_options(name=name, task_run_name=name)
            future = task_run.submit(queue, name, wanted[name], slot, begun)
            running[future] = name, slot
            future.add_done_callback(events.put)
        try:
            ended = events.get(timeout=LOOK)
        except Empty:
            continue
        at_a_time = most
        if ended is None:
            continue
        name, slot = running.pop(ended)
        free.append(slot)
        ended.wait()  # it is over, but only then the state is its last
        states[name] = ended.state
        done = total - len(waiting) - len(running)
        update_progress_artifact(bar, 100 * done / total, f"{done} of {total}, {name} last")
    return states


@task(cache_policy=NO_CACHE, persist_result=False)
def keep(sentence: str) -> State:
    """Says of an experiment that was there already what came of it."""
    return Completed(name="Cached", message=f"ran before: {sentence}")


@task(cache_policy=NO_CACHE, persist_result=False)
def run_experiment(
    queue: Queue, name: str, wanted: Params, slot: dict[str, str], begun: Callable[[str], None]
) -> State:
    """Runs one queued experiment: its output to the log, how it ended as the state."""
    log = get_run_logger()
    start = time.perf_counter()
    if slot:
        log.info(" ".join(f"{key}={value}" for key, value in slot.items()))
    try:
        for line in queue.run(name, slot, wanted.get(PATIENCE)):
            log.info(line.text)
            if line.outcome and line.stage:
                begun(line.stage)
    except ProjectError as error:
        return Failed(message=str(error))
    # That it went well is DVC's word; that its result is there, and of what it should be, is seen.
    experiment = queue.result(name)
    if experiment is None:
        return Failed(message="It ran to its end, but DVC did not keep the result; see the log")
    if problem := unusable(experiment) or ", ".join(differences(experiment.params, wanted)):
        return Failed(message=f"It ran to its end, but is no result: {problem}")
    seconds = time.perf_counter() - start
    return Completed(message=f"{_sentence(headline(experiment))}; ran for {seconds:.1f} s")


def table(queue: Queue, states: Mapping[str, State]) -> list[dict[str, Any]]:
    """A row an experiment: its figures, as DVC has them now, or its error."""
    figures = {
        name: headline(result) if state.is_completed() and (result := queue.result(name)) else {}
        for name, state in states.items()
    }
    columns = dict.fromkeys(label for each in figures.values() for label in each)
    return [
        {
            "experiment": name,
            "state": state.name,
            **{label: figures[name].get(label) for label in columns},
            "error": "" if state.is_completed() else state.message,
        }
        for name, state in states.items()
    ]


def _sentence(figures: Mapping[str, Any]) -> str:
    return ", ".join(f"{label} {value}" for label, value in figures.items())


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m flows.sweep",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Run many experiments: every preset with every point of a grid, as a flow "
        "that Prefect shows.",
        epilog=EPILOG,
    )
    add = parser.add_argument
    add("files", nargs="*", metavar="file", help="a preset, or a sweep file (presets, grid)")
    add(
        "--grid",
        action="append",
        default=[],
        metavar="KEY=VALUE,VALUE",
        help="values to try; several grids: every combination of them",
    )
    add(
        "-S",
        "--set-param",
        dest="overrides",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="set a parameter for all, also over presets; may be repeated",
    )
    add("-j", "--jobs", type=_count, metavar="N", help="so many at a time; default: one a GPU")
    add("--prefix", default="", help="begins the name of every experiment")
    add("-f", "--force", action="store_true", help="replace experiments that were made otherwise")
    options = vars(parser.parse_args(arguments))
    try:
        # What can be seen at once is said at once, before Prefect starts a server.
        plan(Path.cwd(), *(options[key] for key in ("files", "grid", "overrides", "prefix")))
    except PlanError as error:
        sys.exit(f"sweep: {error}")
    try:
        state = run(sweep, **options)
    except KeyboardInterrupt:
        sys.exit("sweep: stopped; the same command goes on with what is left")
    sys.exit(0 if state.is_completed() else f"sweep: {state.message}")


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of 1 or more")
    return int(text)


if __name__ == "__main__":
    main()

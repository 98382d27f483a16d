"""Experiments as tasks: runs of what is queued, some at a time, each on its GPU."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any
from uuid import UUID

from prefect import get_run_logger, task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.states import Completed, Failed

from experiments.dvc_project import EndedEarly, ProjectError, Queue
from experiments.plan import PATIENCE, Params, differences
from experiments.results import headline, unusable

# Seconds of waiting at a time: where a source has imported Polars, Ctrl-C does not end a wait, for
# Polars handles SIGINT with SA_RESTART.
LOOK = 1
PRUNED = "Pruned"  # the state of an experiment that was ended early

Slot = dict[str, str]  # variables of an experiment's environment
Begun = Callable[[str], None]  # to be called with each stage that begins
# Starts the next experiment: its name and its run; None: there is none left.
Start = Callable[[Slot, Begun], tuple[str, PrefectFuture[State]] | None]


def run_all(
    start: Start,
    ended: Callable[[str, State], None],
    free: list[Slot],
    shared: set[str],
    there: int,
    total: int,
) -> dict[str, State]:
    """Runs experiments, one on each of the slots ``free`` at a time; returns their states.

    The first one runs alone until it is past the stages that are ``shared``, and leaves these in
    DVC's cache: else each of the first ones would run them.

    Args:
        ended: called with the name and the state of each, before the next one is started.
        there: how many of the ``total`` need not run.
    """
    states: dict[str, State] = {}
    running: dict[PrefectFuture[State], tuple[str, Slot]] = {}
    events: SimpleQueue[PrefectFuture[State] | None] = SimpleQueue()  # one ended, or None: begun
    at_a_time, most, is_left = 1, len(free), True
    bar = create_progress_artifact(100 * there / total, key="sweep-progress")
    assert isinstance(bar, UUID)  # a coroutine in asynchronous code only

    def begun(stage: str) -> None:
        if stage not in shared:
            events.put(None)

    while is_left or running:
        while is_left and free and len(running) < at_a_time:
            if (started := start(free[0], begun)) is None:
                is_left = False
                break
            name, future = started
            running[future] = name, free.pop(0)
            future.add_done_callback(events.put)
        try:
            event = events.get(timeout=LOOK)
        except Empty:
            continue
        at_a_time = most
        if event is None:
            continue
        name, slot = running.pop(event)
        free.append(slot)
        event.wait()  # it is over, but only then the state is its last
        states[name] = event.state
        ended(name, event.state)
        done = there + len(states)
        update_progress_artifact(bar, 100 * done / total, f"{done} of {total}, {name} last")
    return states


@task(cache_policy=NO_CACHE, persist_result=False)
def keep(sentence: str) -> State:
    """Says of an experiment that was there already what came of it."""
    return Completed(name="Cached", message=f"ran before: {sentence}")


@task(cache_policy=NO_CACHE, persist_result=False)
def run_experiment(
    queue: Queue,
    name: str,
    wanted: Params,
    slot: Slot,
    begun: Begun,
    is_hopeless: Callable[[Path], bool] | None = None,
) -> State:
    """Runs one queued experiment: its output to the log, how it ended as the state."""
    log = get_run_logger()
    start = time.perf_counter()
    if slot:
        log.info(" ".join(f"{key}={value}" for key, value in slot.items()))
    try:
        for line in queue.run(name, slot, wanted.get(PATIENCE), is_hopeless):
            log.info(line.text)
            if line.outcome and line.stage:
                begun(line.stage)
    except EndedEarly as error:
        return Completed(name=PRUNED, message=str(error))
    except ProjectError as error:
        return Failed(message=str(error))
    # That it went well is DVC's word; that its result is there, and of what it should be, is seen.
    experiment = queue.result(name)
    if experiment is None:
        return Failed(message="It ran to its end, but DVC did not keep the result; see the log")
    if problem := unusable(experiment) or ", ".join(differences(experiment.params, wanted)):
        return Failed(message=f"It ran to its end, but is no result: {problem}")
    seconds = time.perf_counter() - start
    return Completed(message=f"{sentence(headline(experiment))}; ran for {seconds:.1f} s")


def sentence(figures: Mapping[str, Any]) -> str:
    return ", ".join(f"{label} {value}" for label, value in figures.items())

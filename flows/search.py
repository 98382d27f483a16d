"""A search as part of the flow ``sweep``: trials that learn from each other, as experiments."""

import json
from collections.abc import Sequence
from pathlib import Path

from prefect import get_run_logger
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.states import Completed, Failed

from experiments.dvc_project import Project, Queue
from experiments.params import CHECK
from experiments.plan import Params, PlanError, Planned, complaint, read
from experiments.results import common_stages, headline, results
from experiments.search import Range, Search, read_search
from experiments.sources import listed
from experiments.study import Study, Trial
from flows.params import check_params
from flows.runs import PRUNED, Begun, Slot, keep, run_all, run_experiment, sentence
from stages.markdown import plain

SHOWN = 3  # trials that failed


def run_search(
    file: str,
    trials: int,
    metric: str,
    files: Sequence[str],
    overrides: Sequence[str],
    free: list[Slot],
    prefix: str,
    force: bool,
) -> State:
    """Runs the trials that are left of a search, in the DVC project in the current folder.

    Args:
        trials: in all, those before a restart counted; but not those that failed then.
        metric: what is to be high.
        free: what each of the trials at a time has in its environment.
    """
    log = get_run_logger()
    root = Path.cwd()
    current = read(root)
    search = read_search(root, file, files, overrides, prefix)
    check_search(root, search, current, metric)
    project = Project(root)
    project.check_readable()
    with Queue(root) as queue:
        params = current | search.fixed
        study = Study(root, search, metric, params, project.hashes(), force)
        there = study.ended
        log.info("%d trials to run, %d there already", max(0, trials - there), there)
        running: dict[str, Trial] = {}
        for row in study.rows():
            if row["state"] in ("complete", "pruned"):
                figure = "" if row["value"] is None else f", {metric} {row['value']:.4f}"
                _keep(row["experiment"], f"{row['state']}{figure}")

        def start(slot: Slot, begun: Begun) -> tuple[str, PrefectFuture[State]] | None:
            while study.ended + len(running) < trials:
                trial = study.next()
                planned = Planned(trial.name, search.fixed | trial.values)
                # Killed between its end and our note of it; or the study's file is gone.
                if done := results(queue, [planned], current, force):
                    study.complete(trial, done[trial.name])
                    _keep(trial.name, sentence(headline(done[trial.name])))
                    continue
                queue.add({trial.name: planned.changes})
                task_run = run_experiment.with_options(name=trial.name, task_run_name=trial.name)
                running[trial.name] = trial
                wanted, watch = current | planned.changes, study.watch(trial)
                return trial.name, task_run.submit(queue, trial.name, wanted, slot, begun, watch)
            return None

        def ended(name: str, state: State) -> None:
            trial = running.pop(name)
            result = queue.result(name) if state.is_completed() else None
            if state.name == PRUNED:
                study.prune(trial)
            elif result:
                study.complete(trial, result)
            else:
                study.fail(trial, state.message or "")
            study.write()

        shared = common_stages(project, _corners(search), current)
        run_all(start, ended, free, shared, there, max(there, trials))
        # To DVC they failed, which they did not; that they were tried, the study knows.
        if pruned := [row["experiment"] for row in study.rows() if row["state"] == "pruned"]:
            queue.remove(pruned)
        return report(root, study, search, metric)


def check_search(root: Path, search: Search, current: Params, metric: str) -> None:
    """Checks a search as a whole: each end of each range, each choice, and a hundred points more.

    Raises:
        PlanError: says what is wrong.
    """
    if search.halving and metric == "subset_accuracy":
        raise PlanError("halving compares epochs, which have no subset_accuracy: leave out halving")
    for planned in [Planned(f"{search.name}-000", search.fixed), *_corners(search)]:
        if text := complaint(planned, current):
            raise PlanError(text)
    fixed, points = _texts(search.fixed), search.points()
    check_params(root, fixed, [_texts(point) for point in points])
    for key, drawn in search.space.items():
        if isinstance(drawn, Range) and drawn.is_whole and drawn.step is None:
            if not (root / CHECK).is_file():
                continue  # nobody knows
            point = next(each for each in points if key in each)
            try:
                check_params(root, [*fixed, *_texts(point | {key: drawn.low + 0.5})])
            except PlanError:
                continue  # as it should be
            raise PlanError(
                f"{key}: {drawn.low} to {drawn.high} are whole numbers, and it may be others as "
                f"well; write {drawn.low}.0, or step: 1 if whole ones are meant"
            )


def report(root: Path, study: Study, search: Search, metric: str) -> State:
    """Writes what came of a search: its table, its page, and its experiments compared."""
    from experiments import search_page  # bring Altair
    from experiments.compare import compare

    study.write()
    rows = study.rows()
    what = f"{len(rows)} trials of {plain(search.name)}"
    create_table_artifact(rows, key="sweep", description=what)
    complete = sorted(
        (row for row in rows if row["state"] == "complete"), key=lambda row: -row["value"]
    )
    problems = [f"{row['experiment']}: {row['problem']}" for row in rows if row["problem"]]
    if not complete:
        return Failed(
            message=f"No trial came to its end: {listed(problems, SHOWN) or 'all pruned'}"
        )
    search_page.write(study, search, metric)
    compare(root, [row["experiment"] for row in complete], study.folder)
    folder = study.folder.relative_to(root)
    get_run_logger().info("Side by side: %s/index.html, %s/comparison.md", folder, folder)
    pruned, best = sum(row["state"] == "pruned" for row in rows), complete[0]
    parts = [f"{len(complete)} complete", f"{pruned} pruned", f"{len(problems)} failed"]
    return Completed(
        message=f"{', '.join(parts)}; best: {best['experiment']}, {metric} {best['value']:.4f}"
    )


def _keep(name: str, text: str) -> None:
    keep.with_options(name=name, task_run_name=name)(text, return_state=True)


def _corners(search: Search) -> list[Planned]:
    """An experiment for each end of each range and each choice."""
    return [
        Planned("", search.fixed | search.decode({key: end}))
        for key, drawn in search.space.items()
        for end in drawn.ends
    ]


def _texts(values: Params) -> list[str]:
    return [f"{key}={json.dumps(value)}" for key, value in values.items()]  # JSON is YAML

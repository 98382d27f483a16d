"""Many experiments as one flow: presets × a grid, or a search; some at a time, none lost.

``python -m flows.sweep [preset or sweep file …] [--grid train.lr=1e-4,1e-3] [-S train.epochs=5]``
``python -m flows.sweep --search presets/sweeps/search.yaml --trials 40``
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any, get_args

from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.states import Completed, Failed
from pydantic import Field

from evaluation.judge.params import Metric
from experiments.devices import slots
from experiments.dvc_project import Project, Queue
from experiments.plan import Params, PlanError, Planned, complaint, plan, read
from experiments.results import common_stages, headline, results
from experiments.search import read_search
from flows.command import run
from flows.params import check_params
from flows.reproduce import Override
from flows.retries import failed_or_retried
from flows.runs import Begun, Slot, keep, run_all, run_experiment, sentence
from flows.search import run_search
from stages import printable
from stages.cores import cores

EPILOG = """\
Values are YAML: 1e-4, null, true, [0.08,1], 'a text, with commas'. A sweep file has presets (a list
of files), a grid (a list of values by key), or both. Each experiment is one of DVC's, named after
its preset and its point of the grid, s4-resnet34-lr=1e-5: see dvc queue status, dvc exp show and
python -m experiments.compare.

Stopped and started again it goes on with what is left; what failed is tried again. When the code
or other parameters have changed meanwhile, the names are taken: commit the change, or say --force
or --prefix.

A search draws values from ranges and choices, and learns from each trial where to look next; what
it tried and the pages on that are in searches/.

  python -m flows.sweep presets/s4/*.yaml
  python -m flows.sweep presets/sweeps/s1-batch.yaml -S train.epochs=1 --prefix short
  python -m flows.sweep --grid train.batch_size=16,32,64 --grid train.lr=1e-5,1e-4,1e-3
  python -m flows.sweep --search presets/sweeps/search.yaml --trials 40 -j 2
"""


@flow(description="Runs presets × a grid as DVC experiments; goes on where it was stopped.")
@failed_or_retried
def sweep(
    files: Sequence[str] = (),
    grid: Sequence[Override] = (),
    overrides: Sequence[Override] = (),
    jobs: Annotated[int, Field(ge=1)] | None = None,
    prefix: str = "",
    force: bool = False,
    search: str | None = None,
    trials: Annotated[int, Field(ge=1)] | None = None,
    metric: Metric | None = None,
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
        search: A search file, like presets/sweeps/search.yaml, in place of a grid: values are
            drawn from its ranges, better ones from trial to trial.
        trials: Of a search, how many in all, those before it was stopped counted.
        metric: Of a search, what is to be high on the validation photos. None: micro_f1.
    """
    check_search_options(search, trials, metric, grid)
    if search and trials:
        return run_search(
            search, trials, metric or "micro_f1", files, overrides, slots(jobs), prefix, force
        )
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
                sentence(headline(experiment)), return_state=True
            )
            for name, experiment in done.items()
        }
        waiting = iter(left.items())

        def start(slot: Slot, begun: Begun) -> tuple[str, PrefectFuture[State]] | None:
            if (each := next(waiting, None)) is None:
                return None
            name, changes = each
            task_run = run_experiment.with_options(name=name, task_run_name=name)
            return name, task_run.submit(queue, name, current | changes, slot, begun)

        states |= run_all(start, lambda *_: None, slots(jobs), shared, len(done), len(planned))
        rows = table(queue, {each.name: states[each.name] for each in planned})
    create_table_artifact(rows, key="sweep", description=f"{len(rows)} experiments")
    log.info("Side by side, with intervals and costs: python -m experiments.compare")
    failed = [name for name, state in states.items() if not state.is_completed()]
    if failed:
        return Failed(message=f"{len(failed)} of {len(states)} failed: {', '.join(failed)}")
    return Completed(message=f"{len(left)} ran, {len(done)} were there already")


def check_search_options(
    search: str | None, trials: int | None, metric: str | None, grid: Sequence[str]
) -> None:
    """Raises PlanError where options of a search and of a grid are mixed, or one is missing."""
    if search and grid:
        raise PlanError("A search draws its own values: leave out the grid, or the search")
    if search and not trials:
        raise PlanError("How many trials is the search to have? --trials 40")
    if not search and (trials or metric):
        raise PlanError("Trials and metric are of a search: name its file, --search FILE")


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
    add("--search", metavar="FILE", help="draw values from the ranges of this file")
    add("--trials", type=_count, metavar="N", help="of a search: so many in all")
    add("--metric", choices=get_args(Metric), help="of a search: what is to be high; micro_f1")
    options = vars(parser.parse_args(arguments))
    try:
        # What can be seen at once is said at once, before Prefect starts a server.
        check_search_options(*(options[key] for key in ("search", "trials", "metric", "grid")))
        root = Path.cwd()
        files, grid, *others = (options[k] for k in ("files", "grid", "overrides", "prefix"))
        if options["search"]:
            read_search(root, options["search"], files, *others)
        else:
            plan(root, files, grid, *others)
    except PlanError as error:
        sys.exit(printable(f"sweep: {error}"))
    try:
        state = run(sweep, **options)
    except KeyboardInterrupt:
        sys.exit("sweep: stopped; the same command goes on with what is left")
    sys.exit(0 if state.is_completed() else printable(f"sweep: {state.message}"))


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of 1 or more")
    return int(text)


if __name__ == "__main__":
    main()

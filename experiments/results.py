"""What came of the experiments of a sweep: which are there already, and their figures."""

from collections.abc import Sequence
from typing import Any

from experiments.dvc_project import Experiment, Project, Queue
from experiments.plan import Params, PlanError, Planned, differences
from experiments.sources import listed
from stages.params import flatten

SHOWN_CHANGES = 3
SHOWN_METRICS = 4


def results(
    queue: Queue, planned: Sequence[Planned], current: Params, force: bool
) -> dict[str, Experiment]:
    """The experiments that ran to their end as planned, by name.

    Raises PlanError where others have their names, except with ``force``.
    """
    same, others = {}, []
    for each in planned:
        experiment = queue.result(each.name)
        if experiment is None or unusable(experiment):
            continue
        changed = differences(experiment.params, current | each.changes)
        changed = changed or [f"{path} changed since" for path in queue.changes(experiment)]
        if not changed:
            same[each.name] = experiment
        else:
            others.append(f"{each.name}: {listed(changed, SHOWN_CHANGES)}")
    if others and not force:
        raise PlanError(
            "Experiments of these names are there, but made otherwise. Replace them with --force, "
            "or keep them and give the new ones a --prefix:\n" + "\n".join(others)
        )
    return same


def unusable(experiment: Experiment) -> str:
    """Why the experiment is no result; empty where it is one."""
    return experiment.problem or ("" if experiment.metrics else "it left no metrics")


def common_stages(project: Project, planned: Sequence[Planned], current: Params) -> set[str]:
    """The stages that come out the same in all experiments: they need to run only once."""
    values = [current | each.changes for each in planned]
    common: set[str] = set()
    for stage, upstream in project.upstream.items():
        reads = tuple(f"{key}." for key in project.reads[stage])
        variants = {
            repr([(key, value) for key, value in each.items() if f"{key}.".startswith(reads)])
            for each in values
        }
        if len(variants) == 1 and common.issuperset(upstream):
            common.add(stage)
    return common


def headline(experiment: Experiment) -> dict[str, Any]:
    """The figures that experiments are compared by; of another project, its first numbers."""
    from experiments.compare import METRICS, Row, row_of  # brings Matplotlib

    row = row_of(experiment)
    if isinstance(row, Row):
        return {label: round(row.figures[key].value, 4) for key, label in METRICS.items()}
    values = [pair for file in experiment.metrics.values() for pair in values_of(file).items()]
    numbers = [(key, value) for key, value in values if isinstance(value, int | float)]
    return dict(numbers[:SHOWN_METRICS])


def values_of(content: Any) -> dict[str, Any]:
    """What a metrics file holds, by whole key; the key of a file that is one value is empty."""
    return flatten(content) if isinstance(content, dict) else {"": content}

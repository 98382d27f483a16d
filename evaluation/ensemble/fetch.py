"""The members' tables, from DVC's cache or its remote."""

from collections.abc import Sequence
from pathlib import Path

from experiments.compare import alike, group_name, row_of
from experiments.dvc_project import ProjectError, experiments, fetch

FILES = ("data/validation.parquet", "data/predictions.parquet", "models/decision.json")
FOLD = "split.fold"


def fetch_members(root: Path, names: Sequence[str], folder: Path) -> list[Path]:
    """A folder in ``folder`` for each member, as ``evaluation.ensemble.members`` reads them.

    Experiments of the project in ``root`` that differ only in the fold they validate are one
    member.

    Raises:
        ProjectError: an experiment has no result, or DVC no longer has its tables.
    """
    chosen = experiments(root, names)
    for each in chosen:
        if isinstance(problem := row_of(each), str):
            raise ProjectError(f"{each.name} cannot be a member: {problem}")
    members = []
    for networks in alike(chosen, [FOLD]):
        name = group_name([each.name for each in networks])
        members.append(folder / name.replace("/", "-"))
        for i, each in enumerate(networks):
            fetch(root, each.rev, each.name, FILES, members[-1] / str(i))
    return members

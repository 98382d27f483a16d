"""Several experiments' networks as one: ``python -m evaluation.ensemble.from_experiments NAME …``.

Takes from each what it said of validation and test photos, as DVC keeps it; nothing is trained or
predicted anew. Experiments that differ only in the fold they validate are one member. What the
members are worth is found by ``python -m evaluation.ensemble``, which also writes the results.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from experiments.compare import alike, group_name, row_of
from experiments.dvc_project import ProjectError, experiments, fetch
from experiments.params import check_params
from experiments.plan import PlanError

SAID = ("data/validation.parquet", "data/predictions.parquet", "models/decision.json")
FOLD = "split.fold"
OUT = Path("ensemble")


def ensemble(root: Path, names: Sequence[str], out: Path = OUT) -> int:
    """Combines the experiments of the project in ``root``, written to ``out``; an exit status.

    Threshold, metric and intervals are those of ``threshold`` in the workspace's ``params.yaml``.
    Raises ProjectError when an experiment has no result, or DVC no longer has what it said;
    PlanError when a value there is wrong.
    """
    check_params(root)
    members = experiments(root, names)
    for each in members:
        if isinstance(why := row_of(each), str):
            raise ProjectError(f"{each.name} cannot be a member: {why}")
    with TemporaryDirectory() as temporary:
        folders = []
        for folds in alike(members, [FOLD]):
            name = group_name([each.name for each in folds])
            folders.append(Path(temporary) / name.replace("/", "-"))
            for i, each in enumerate(folds):
                fetch(root, each.rev, each.name, SAID, folders[-1] / str(i))
        command = [sys.executable, "-m", "evaluation.ensemble", *folders, "--out", out.resolve()]
        return subprocess.run(command, cwd=root, check=False).returncode


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m evaluation.ensemble.from_experiments",
        description="Average the probabilities of several experiments, with weights found on rows "
        "that no member was trained on.",
    )
    parser.add_argument(
        "names",
        nargs="+",
        metavar="experiment",
        help="also a branch, tag, commit or workspace; those that differ only in split.fold are "
        "one member",
    )
    parser.add_argument("--out", type=Path, default=OUT, metavar="FOLDER", help=f"default: {OUT}")
    options = parser.parse_args(arguments)
    try:
        status = ensemble(Path.cwd(), options.names, options.out)
    except (PlanError, ProjectError) as error:
        sys.exit(f"ensemble: {error}")
    if status == 0:
        print(f"Written to {options.out}/")
    sys.exit(status)


if __name__ == "__main__":
    main()

"""ensemble: the probabilities of several experiments' networks → one, weighed by their worth.

``python -m evaluation.ensemble EXPERIMENT … [--out FOLDER]``. Nothing is trained or predicted anew:
what each experiment answered is fetched from DVC. How thresholds, metrics and intervals are found
is the section ``threshold`` of the current folder's ``params.yaml``. No stage of ``dvc.yaml``: the
members come from several runs of it.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from evaluation.ensemble.combine import combine
from evaluation.ensemble.fetch import fetch_members
from evaluation.ensemble.measure import show
from evaluation.ensemble.members import read_members
from experiments.dvc_project import ProjectError
from experiments.params import check_all
from stages import UserError, run
from stages.params import load, read
from stages.threshold.params import Threshold

OUT = Path("ensemble")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m evaluation.ensemble",
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
    check_all(load())
    params = read(Threshold)
    try:
        with TemporaryDirectory() as folder:
            members = read_members(fetch_members(Path.cwd(), options.names, Path(folder)))
    except ProjectError as error:
        raise UserError(str(error)) from error
    weights, metrics = combine(members, params, options.out)
    show(weights, metrics)
    print(f"Written to {options.out}/")


if __name__ == "__main__":
    run(main)

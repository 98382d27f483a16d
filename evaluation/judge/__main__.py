"""judge: the model in use and the one just trained, on the same photos, trained on by neither.

``python -m evaluation.judge CHAMPION --out verdict.json`` compares the bundle of this project, the
challenger, with the one in the folder CHAMPION (see ``Champion``). Where the two cannot be
compared the verdict is just ``{"incomparable": reason}``. No stage of ``dvc.yaml``: the champion
comes from another run of it.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from evaluation.judge.params import Retrain
from evaluation.judge.sides import Champion, Incomparable, compare
from stages import run
from stages.files import write_json
from stages.network.allocation import keep_freed_memory
from stages.params import read


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m evaluation.judge")
    parser.add_argument("champion", type=Path, metavar="CHAMPION")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    options = parser.parse_args(arguments)
    keep_freed_memory()
    try:
        verdict = compare(Champion.at(options.champion), read(Retrain))
    except Incomparable as reason:
        verdict = {"incomparable": str(reason)}
    write_json(options.out, verdict)


if __name__ == "__main__":
    run(main)

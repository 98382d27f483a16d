"""What DVC takes for the whole pipeline, beside a toy of seven stages that copy a line of text.

Both are real projects in temporary folders. Nothing has changed; then one parameter has, each
time to a value that it never had, since DVC restores what it has seen.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from prefect.settings import PREFECT_API_URL
from prefect.testing.utilities import prefect_test_harness

from benchmarks.table import Options, Row, in_turn, main
from benchmarks.workspace import ROOT, SOMEONE, Workspace, start_project

TOY_STAGES = 7
IDLE = "from prefect import flow; flow(lambda: 1, name='idle')()"
MOST_SECONDS = 3  # that a changed threshold may take longer than a changed line of the toy
CHANGES: dict[str, Any] = {
    "ingest": {"image_size": 48},
    "train": {"backbone": "small_cnn", "epochs": 2},
    "threshold": {"scope": "label"},
}


def rows(options: Options) -> Iterator[Row]:
    if options.gpu:
        return
    with tempfile.TemporaryDirectory(prefix="tagloom-") as name:
        toy, seeing, project = (Path(name) / part for part in ("toy", "seeing", "project"))
        data = Path(name) / "data"
        data.mkdir()
        workspace = Workspace(data, options.photos, options, CHANGES)
        make_toy(toy)
        make_toy(seeing, str(data / "raw"))
        make_project(project, workspace)
        repro(toy)
        repro(seeing)
        full = repro(project)
        repro(project)  # DVC has taken down what it saw

        beside = f"toy of {TOY_STAGES} stages"
        ours, theirs = in_turn(options.repeats, lambda: repro(project), lambda: repro(toy))
        what = f"dvc repro with {options.photos:,} photos, nothing changed"
        yield Row(what, beside, "s", ours, theirs, "≤ 1.3")
        # The bound: DVC looks at each photo's time and size, whoever depends on the folder.
        ours, theirs = in_turn(options.repeats, lambda: repro(seeing), lambda: repro(toy))
        yield Row("… of that, a toy that depends on the photos", beside, "s", ours, theirs)

        yield from retraining(project, options)

        values = count(1000)

        def changed(key: str, *stages: str) -> float:
            workspace.change({"threshold": {key: next(values)}})
            shutil.copy(data / "params.yaml", project)
            return repro(project, *stages)

        def toy_changed() -> float:
            (toy / "params.yaml").write_text(f"last: {next(values)}\n", "utf-8")
            return repro(toy)

        # Other fifths for the cross-fitting; what follows keeps a record, so it runs, too.
        ours, theirs = in_turn(options.repeats, lambda: changed("seed", "threshold"), toy_changed)
        yield Row(
            "threshold.seed changed, to threshold, seconds more than of the toy",
            "limit",
            "s",
            [one - other for one, other in zip(ours, theirs, strict=True)],
            [MOST_SECONDS] * len(ours),
            "≤ 1",
        )
        yield Row("threshold.seed changed, to threshold", "full run", "s", ours, [full] * len(ours))
        # Other thresholds: all that comes after follows.
        ours = [changed("shrinkage") for _ in range(options.repeats)]
        what = "threshold.shrinkage changed (threshold, bundle, predict and report run)"
        yield Row(what, "full run", "s", ours, [full] * len(ours))


def retraining(project: Path, options: Options) -> Iterator[Row]:
    """What a scheduled run costs that finds nothing new, with the server running."""
    for command in (["add", "--all"], [*SOMEONE, "commit", "--quiet", "--message", "Ran"]):
        subprocess.run(["git", *command], cwd=project, check=True)
    with prefect_test_harness(server_startup_timeout=120):
        api = {"PREFECT_API_URL": PREFECT_API_URL.value(), "PYTHONPATH": str(ROOT)}
        run(project, ["-m", "flows.retrain"], **api)  # clones

        def retrained() -> float:
            return run(project, ["-m", "flows.retrain"], "retrain: skipped", **api)

        ours, theirs = in_turn(options.repeats, retrained, lambda: repro(project))
        yield Row("flows.retrain, nothing new", "dvc repro", "s", ours, theirs, "≤ 2")
        # The bound: Prefect's imports, its calls of the server, and the end of its heartbeat.
        ours, theirs = in_turn(
            options.repeats, lambda: run(project, ["-c", IDLE], **api), lambda: repro(project)
        )
        yield Row("… of that, a flow that does nothing", "dvc repro", "s", ours, theirs)


def repro(folder: Path, *stages: str) -> float:
    """Seconds of ``dvc repro`` as far as these stages, start-up and all."""
    return run(folder, ["-m", "dvc", "repro", "--quiet", *stages])


def run(folder: Path, command: Sequence[str], last: str = "", **variables: str) -> float:
    """Seconds of a Python program, start-up and all.

    Ends where it fails, or where the last line of its output does not begin with ``last``.
    """
    # DVC runs the stages' python by name.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=os.environ | {"PATH": path} | variables,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    seconds = time.perf_counter() - started
    if last and not done.stdout.splitlines()[-1].startswith(last):
        sys.exit(f"{' '.join(command)} in {folder} said: {done.stdout}")
    return seconds


def make_toy(folder: Path, *dependencies: str) -> None:
    """Stages that each copy a line; the first depends on more where that is given."""
    stages: dict[str, Any] = {
        f"stage{number}": {
            "cmd": f"cp {number}.txt {number + 1}.txt",
            "deps": [f"{number}.txt"],
            "outs": [f"{number + 1}.txt"],
        }
        for number in range(TOY_STAGES)
    }
    stages["stage0"]["deps"] += dependencies
    stages[f"stage{TOY_STAGES - 1}"]["params"] = ["last"]
    start_project(folder)
    (folder / "0.txt").write_text("a line\n", "utf-8")
    (folder / "params.yaml").write_text("last: 0\n", "utf-8")
    (folder / "dvc.yaml").write_text(json.dumps({"stages": stages}), "utf-8")  # JSON is YAML


def make_project(folder: Path, workspace: Workspace) -> None:
    """The code of this checkout, to run on the workspace's photos; nothing has run yet."""
    start_project(folder)
    shutil.copytree(
        ROOT / "stages", folder / "stages", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in (
        *("dvc.yaml", ".dvcignore", "data/.gitignore", "data/corrections/README.md"),
        "models/.gitignore",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    shutil.copy(workspace.folder / "params.yaml", folder)


if __name__ == "__main__":
    main(rows, __file__)

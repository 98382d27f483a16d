"""A search as a flow: killed and started again, it loses nothing and runs nothing twice."""

import csv
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient

from experiments.dvc_project import Queue
from experiments.plan import PlanError, read
from experiments.search import read_search
from flows.search import check_search
from flows.sweep import sweep
from tests import forked_python
from tests.flows import searched
from tests.flows.test_reproduce import tasks
from tests.flows.test_sweep import sweep_file
from tests.toy import ROOT, Toy, eventually

SPACE = {
    "model.height": {"low": 0.1, "high": 1.0},
    "model.kind": {"choices": ["flat", "tilted"]},
    "model.tilt": {"low": 1, "high": 5, "when": {"model.kind": "tilted"}},
}
# With this seed the second trial promises less than the first, and the third more.
SEED = 12

REFUSES = """
import json, sys
for texts in [sys.argv[1:], *map(json.loads, sys.stdin)]:
    for key, _, value in (text.partition("=") for text in texts):
        if key == "model.tilt" and value not in ("1", "2", "3", "4", "5"):
            sys.exit(f"model.tilt is {value}")
"""


@pytest.fixture(scope="module")
def made(own_environment: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a search, to be copied."""
    folder = tmp_path_factory.mktemp("searched")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAN", str(folder.with_suffix(".ran")))
        toy = searched.make(folder)
    sweep_file(toy, space=SPACE, halving={"epochs": 1, "factor": 2}, seed=SEED)
    return folder


@pytest.fixture
def project(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Toy, Path]:
    """A project and a search of it, its folder the current one; and the file that runs add to."""
    toy, ran = Toy(tmp_path / "toy"), tmp_path / "ran"
    shutil.copytree(made, toy.folder, symlinks=True)
    monkeypatch.setenv("RAN", str(ran))
    monkeypatch.chdir(toy.folder)
    return toy, ran


def history(toy: Toy) -> list[dict[str, str]]:
    with (toy.folder / "searches/sweep/trials.csv").open() as file:
        return list(csv.DictReader(file))


def test_killed_and_started_again(
    project: tuple[Toy, Path], client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy, ran = project
    gate = toy.folder.parent / "gate"
    gate.touch()
    command = ["--search", "sweep.yaml", "--trials", "3", "-S", "pause=0.4"]
    process = subprocess.Popen(
        [forked_python.executable(), "-m", "flows.sweep", *command],
        env=os.environ
        | {"PYTHONPATH": str(ROOT), "PREFECT_API_URL": str(client.api_url), "GATE": str(gate)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    eventually(ran.exists)
    process.kill()
    process.wait()
    gate.unlink()
    monkeypatch.setattr("experiments.dvc_project.queue.LOOK", 0.05)

    def search(trials: int, **options: Any) -> Any:
        overrides = ["pause=0.4"]
        return sweep(
            search="sweep.yaml", trials=trials, overrides=overrides, return_state=True, **options
        )

    state = search(3)
    assert state.name == "Completed", state.message
    assert state.message.startswith("2 complete, 1 pruned, 0 failed; best: sweep-002, micro_f1 0.")
    assert {name: run.state.name for name, run in tasks(client, state).items()} == {
        "sweep-000": "Completed", "sweep-001": "Pruned", "sweep-002": "Completed"
    }  # fmt: skip
    rows = history(toy)
    assert [row["state"] for row in rows] == ["complete", "pruned", "complete"]
    heights = [row["model.height"] for row in rows]
    assert ran.read_text().split() == [heights[0], *heights]  # the first one twice
    with Queue(toy.folder) as queue:
        params = queue.result("sweep-000").params  # type: ignore[union-attr]
    assert [str(params["model.height"]), params["pause"]] == [heights[0], 0.4]
    assert "sweep-001" not in toy.dvc("queue", "status")
    files = {file.name for file in (toy.folder / "searches/sweep").iterdir()}
    assert files >= {"index.html", "comparison.md", "trials.csv", "study.log"}
    assert toy.git("status", "--porcelain") == "?? sweep.yaml"

    # What is there is not run again; other parameters are another search.
    assert search(3).message == state.message
    assert len(ran.read_text().split()) == 4
    toy.params(**searched.PARAMS | {"model": {"kind": "flat", "height": 0.5, "tilt": 2}})
    refused = search(3)
    assert refused.name == "Failed"
    assert "made otherwise" in refused.message
    assert "model.tilt" in refused.message


def test_what_fails_is_a_figure_of_none(project: tuple[Toy, Path], server: None) -> None:
    toy, ran = project
    sweep_file(toy, space={"model.height": SPACE["model.height"]})
    state = sweep(search="sweep.yaml", trials=1, overrides=["model.kind=broken"], return_state=True)
    assert state.message.startswith("No trial came to its end: sweep-000: learn: it is broken")
    # Another one is tried, under another name.
    toy.git("checkout", "--quiet", ".")
    assert [row["state"] for row in history(toy)] == ["fail"]
    assert len(ran.read_text().split()) == 1


def test_a_value_that_the_project_refuses_runs_nothing(project: tuple[Toy, Path]) -> None:
    toy, _ = project
    toy.own_check(REFUSES)
    check_search(toy.folder, read_search(toy.folder, "sweep.yaml"), read(toy.folder), "micro_f1")
    sweep_file(toy, space=SPACE | {"model.tilt": {"low": 1, "high": 7}})
    search = read_search(toy.folder, "sweep.yaml")
    with pytest.raises(PlanError, match=r"model\.tilt is 7"):
        check_search(toy.folder, search, read(toy.folder), "micro_f1")

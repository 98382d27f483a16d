"""What must hold whatever is killed, however full the disk is and whoever works beside it."""

import copy
import json
import random
import re
import shutil
import subprocess
from contextlib import chdir, suppress
from pathlib import Path

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.settings import PREFECT_API_URL

from experiments.registry import BRANCH
from experiments.workspace import FOLDER
from stages.markdown import plain
from tests.experiments.test_sources import state
from tests.flows.chaos import PROMOTING, Disturbed, disturb_in_time, outcome
from tests.flows.retraining_project import run
from tests.toy import eventually

ENDS = ("promoted", "refused", "skipped")


@pytest.fixture(scope="module")
def _promoted(tmp_path_factory: pytest.TempPathFactory, server: None) -> Disturbed:
    """A project with a champion, and something new to learn; as it is kept in ``kept``."""
    project = Disturbed(tmp_path_factory.mktemp("chaos") / "project", PREFECT_API_URL.value())
    project.deliver(0)
    assert project.undisturbed() == "promoted"
    project.check_end()
    project.deliver(1)
    copy_all(project.folder, project.folder.with_name("kept"))
    return project


def copy_all(source: Path, target: Path) -> None:
    """Copies a folder with all that is in it, FIFOs too."""
    subprocess.run(["cp", "--archive", str(source), str(target)], check=True)


@pytest.fixture
def project(_promoted: Disturbed) -> Disturbed:
    """That project, where it was made: its workspace knows where that is."""
    shutil.rmtree(_promoted.folder)
    copy_all(_promoted.folder.with_name("kept"), _promoted.folder)
    project = copy.deepcopy(_promoted)
    project.kept = state(project.folder / "raw", project.album)
    return project


def undisturbed(project: Disturbed) -> str:
    """How a run ends that is left alone: in this process, which has imported all that it needs."""
    with chdir(project.folder):
        name, message = run()
    return f"failed: {message}" if name == "Failed" else name.lower()


def test_killed_again_and_again(project: Disturbed) -> None:
    """``python -m tests.flows.chaos`` is the longer one."""
    generator = random.Random(7)
    for target in ("stage", "judge", PROMOTING):
        assert disturb_in_time(project, target, generator).reads > 0
    assert undisturbed(project) in ENDS
    project.check_end()


def test_over_budget(project: Disturbed) -> None:
    """As the real stage does (``stages.train``), the toy's refuses to go beyond its budget."""
    project.deliver(10_000)
    ended = undisturbed(project)
    sentence = "train: more than train.max_mb allows"
    assert ended == f"failed: Stage train failed: {sentence}; not run: threshold"
    project.check()
    assert project.champion() == 0


@pytest.fixture
def small_disk(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file system of 32 MB, with DVC's databases."""
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(small_disk / "site"))
    return small_disk


def fill(folder: Path) -> Path:
    """A file that takes all the room there is."""
    path = folder / "filling"
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(2**16))
    return path


def test_a_full_disk(small_disk: Path, client: SyncPrefectClient, tmp_path: Path) -> None:
    project = Disturbed(small_disk / "project", str(client.api_url))
    project.log = tmp_path / "log"
    project.deliver(0)
    assert undisturbed(project) == "promoted"
    project.deliver(1)

    # It is full already …
    filling = fill(small_disk)
    assert undisturbed(project).startswith(f"failed: The disk is full: {project.folder} has 0.0 MB")
    filling.unlink()
    project.check()

    # … and while a stage runs.
    with project.start(project.log) as process:
        eventually(lambda: project.find(process.pid, "stage"))
        filling = fill(small_disk)
        assert process.wait(60)
    text = project.log.read_text()
    assert "The disk is full" in text or "No space left on device" in text
    assert "retrain: " in text.splitlines()[-1]
    filling.unlink()
    project.check()

    assert undisturbed(project) == "promoted"
    project.check_end()


def test_photos_that_change_while_they_are_read(project: Disturbed) -> None:
    with project.start(project.log) as process:
        written = project.folder / FOLDER / "data" / "records.parquet"
        # The first stage has read them, and is not done.
        eventually(lambda: project.find(process.pid, "stage") and written.exists())
        (project.folder / "raw" / "000.json").write_text("3")  # in place, not by renaming
        (project.folder / "raw" / "002.json").write_text("5")
        assert process.wait(60)
    assert outcome(project.log).startswith("failed: raw changed while it was read")
    project.numbers, project.worth = [3, 1, 5], 3
    project.kept = state(project.folder / "raw", project.album)
    project.check()
    assert undisturbed(project) == "promoted"
    project.check_end()


def test_beside_a_person_who_reproduces(project: Disturbed, client: SyncPrefectClient) -> None:
    """In the checkout, with the same cache: both finish, and all tell the same of it."""
    (project.folder / "raw" / "stuck.txt").unlink()  # at which DVC would wait
    project.kept = state(project.folder / "raw", project.album)
    with project.start(project.log) as process:
        eventually(lambda: project.find(process.pid, "dvc"))
        project.toy.dvc("repro")
        process.wait(60)
    assert outcome(project.log) == "promoted", project.log.read_text()
    assert json.loads((project.folder / "metrics.json").read_text()) == {"worth": 0.5}
    assert project.toy.dvc("status", "--quiet") == ""
    assert abs(project.champion() - project.worth) < 1e-9

    # DVC, Git and Prefect.
    path = {"key": "retrain"}
    artifact = client.request("GET", "/artifacts/{key}/latest", path_params=path).json()
    flow_run = client.read_flow_run(artifact["flow_run_id"])
    name, _, reason = flow_run.state.message.partition(": ")
    ended = flow_run.state.name, artifact["description"]
    assert ended == ("Promoted", plain(reason))
    assert reason.startswith("micro_f1 0.500 on 9 photos, +0.500")
    assert re.search(r"\| micro_f1 \| 0\.000[^|]* \| 0\.500[^|]* \|", artifact["data"])

    said = project.toy.git("log", "-1", "--format=%s%n%b", BRANCH).splitlines()
    assert said == [f"Promote {name}", reason, "", f"Run: {flow_run.name} {flow_run.id}"]
    versions = ("model@v0.0.1", "model@v0.0.2")
    changes = json.loads(project.toy.dvc("metrics", "diff", "--json", *versions))
    assert changes == {"metrics.json": {"worth": {"old": 0.0, "new": 0.5, "diff": 0.5}}}
    (_, *shown) = json.loads(project.toy.dvc("exp", "show", "--json"))
    (experiments,) = (each["experiments"] for each in shown)
    metrics = {each["name"]: each["revs"][0]["data"]["metrics"] for each in experiments}
    assert metrics[name]["metrics.json"]["data"] == {"worth": 0.5}
    assert len(metrics) == 2

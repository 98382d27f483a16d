"""What must hold whatever is killed, however full the disk is and whoever works beside it."""

import copy
import json
import random
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.settings import PREFECT_API_URL

from experiments.registry import BRANCH
from experiments.workspace import FOLDER
from tests.experiments.test_sources import state
from tests.flows.chaos import PROMOTING, Ground, hit, outcome
from tests.toy import eventually

ENDS = ("promoted", "refused", "skipped")


@pytest.fixture(scope="module")
def _promoted(tmp_path_factory: pytest.TempPathFactory, server: None) -> Ground:
    """A project with a champion, and something new to learn; as it is kept in ``kept``."""
    ground = Ground(tmp_path_factory.mktemp("fire") / "project", PREFECT_API_URL.value())
    ground.deliver(0)
    assert ground.undisturbed() == "promoted"
    ground.check_end()
    ground.deliver(1)
    copy_all(ground.folder, ground.folder.with_name("kept"))
    return ground


def copy_all(source: Path, target: Path) -> None:
    """Copies a folder with all that is in it, FIFOs too."""
    subprocess.run(["cp", "--archive", str(source), str(target)], check=True)


@pytest.fixture
def ground(_promoted: Ground) -> Ground:
    """That project, where it was made: its workspace knows where that is."""
    shutil.rmtree(_promoted.folder)
    copy_all(_promoted.folder.with_name("kept"), _promoted.folder)
    ground = copy.deepcopy(_promoted)
    ground.kept = state(ground.folder / "raw", ground.album)
    return ground


def test_killed_again_and_again(ground: Ground) -> None:
    """``python -m tests.flows.chaos`` is the longer one."""
    chance = random.Random(7)
    for target in ("stage", "judge", PROMOTING):
        assert hit(ground, target, chance).reads > 0
    assert ground.undisturbed() in ENDS
    ground.check_end()


def test_over_budget(ground: Ground) -> None:
    """As the real stage does (``stages.train``), the toy's refuses to go beyond its budget."""
    ground.deliver(10_000)
    ended = ground.undisturbed()
    said = "train: more than train.max_mb allows"
    assert ended == f"failed: Stage train failed: {said}; not run: threshold"
    ground.check()
    assert ground.champion() == 0


@pytest.fixture
def small_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file system of 32 MB, with DVC's databases; only who may mount has one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(command, check=False).returncode:
        pytest.skip("mounting a small tmpfs is not allowed here")
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(folder / "site"))
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """A file that takes all the room there is."""
    path = folder / "filling"
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(2**16))
    return path


def test_a_full_disk(small_disk: Path, client: SyncPrefectClient, tmp_path: Path) -> None:
    ground = Ground(small_disk / "project", str(client.api_url))
    ground.log = tmp_path / "log"
    ground.deliver(0)
    assert ground.undisturbed() == "promoted"
    ground.deliver(1)

    # It is full already …
    filling = fill(small_disk)
    assert ground.undisturbed().startswith(f"failed: The disk is full: {ground.folder} has 0.0 MB")
    filling.unlink()
    ground.check()

    # … and while a stage runs.
    with ground.start(ground.log) as process:
        eventually(lambda: ground.find(process.pid, "stage"))
        filling = fill(small_disk)
        assert process.wait(60)
    said = ground.log.read_text()
    assert "The disk is full" in said or "No space left on device" in said
    assert "retrain: " in said.splitlines()[-1]
    filling.unlink()
    ground.check()

    assert ground.undisturbed() == "promoted"
    ground.check_end()


def test_photos_that_change_while_they_are_read(ground: Ground) -> None:
    with ground.start(ground.log) as process:
        written = ground.folder / FOLDER / "data" / "records.parquet"
        # The first stage has read them, and is not done.
        eventually(lambda: ground.find(process.pid, "stage") and written.exists())
        (ground.folder / "raw" / "000.json").write_text("3")  # in place, not by renaming
        (ground.folder / "raw" / "002.json").write_text("5")
        assert process.wait(60)
    assert outcome(ground.log).startswith("failed: raw changed while it was read")
    ground.numbers, ground.worth = [3, 1, 5], 3
    ground.kept = state(ground.folder / "raw", ground.album)
    ground.check()
    assert ground.undisturbed() == "promoted"
    ground.check_end()


def test_beside_a_person_who_reproduces(ground: Ground) -> None:
    """In the checkout, with the same cache: both finish."""
    (ground.folder / "raw" / "stuck.txt").unlink()  # at which DVC would wait
    ground.kept = state(ground.folder / "raw", ground.album)
    with ground.start(ground.log) as process:
        eventually(lambda: ground.find(process.pid, "dvc"))
        ground.toy.dvc("repro")
        process.wait(60)
    assert outcome(ground.log) == "promoted", ground.log.read_text()
    assert json.loads((ground.folder / "metrics.json").read_text()) == {"worth": 0.5}
    assert ground.toy.dvc("status", "--quiet") == ""
    assert abs(ground.champion() - ground.worth) < 1e-9


def test_dvc_git_and_prefect_tell_the_same(ground: Ground, client: SyncPrefectClient) -> None:
    assert ground.undisturbed() == "promoted"
    path = {"key": "retrain"}
    told = client.request("GET", "/artifacts/{key}/latest", path_params=path).json()
    run = client.read_flow_run(told["flow_run_id"])
    name, _, reason = run.state.message.partition(": ")
    assert (run.state.name, told["description"]) == ("Promoted", reason)
    assert reason.startswith("micro_f1 0.500 on 9 photos, +0.500")
    assert re.search(r"\| micro_f1 \| 0\.000[^|]* \| 0\.500[^|]* \|", told["data"])

    subject, body = ground.toy.git("log", "-1", "--format=%s%n%b", BRANCH).splitlines()
    assert (subject, body) == (f"Promote {name}", reason)
    versions = ("model@v0.0.1", "model@v0.0.2")
    changes = json.loads(ground.toy.dvc("metrics", "diff", "--json", *versions))
    assert changes == {"metrics.json": {"worth": {"old": 0.0, "new": 0.5, "diff": 0.5}}}
    (_, *shown) = json.loads(ground.toy.dvc("exp", "show", "--json"))
    (experiments,) = (each["experiments"] for each in shown)
    found = {each["name"]: each["revs"][0]["data"]["metrics"] for each in experiments}
    assert found[name]["metrics.json"]["data"] == {"worth": 0.5}
    assert len(found) == 2

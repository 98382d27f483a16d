"""Photos come, the clock retrains, and the model in use changes only for a better one."""

import csv
import re
import shutil
import sys
from importlib import import_module
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun
from prefect.client.schemas.sorting import FlowRunSort

from docs.screenshots import serving
from experiments.registry import Registry
from stages.ingest.sources import digits
from tests import forked_python
from tests.conftest import SMALL, run_stages
from tests.pipeline.conftest import Project, checkout, environment
from tests.toy import eventually

Listed = list[tuple[str, str, str]]  # name, labels, caption

# What is judged and put in use. The others take as long again; test_pipeline has them all.
STAGES = ("ingest", "split", "vocab", "train", "threshold", "bundle")
SECONDS = 10  # between the runs, which the clock starts
PATIENCE = 600  # seconds
FIRST = "The first model"
PARAMS = {
    "ingest.source": "kaggle-csv",
    "ingest.kaggle-csv.test": None,
    "split.validation": 0.3,
    "train.epochs": 12,
    "retrain.cron": f"* * * * * */{SECONDS}",
    "retrain.max_label_drop": 0.5,  # of few photos
}


@pytest.fixture
def team(tmp_path: Path) -> Project:
    """A checkout whose photos, a hundred digits, are not Git's, with a model of them in use."""
    team = checkout(tmp_path / "tagloom", SMALL | PARAMS, STAGES)
    (team.root / ".git" / "info" / "exclude").write_text("/data/raw/\n")
    raw = team.root / "data" / "raw"
    list_photos(raw, draw_photos(raw, 0, 100))
    # In this process: in those of their own, most of their time is that of their imports.
    run_stages(team.root, *(import_module(f"stages.{name}.__main__").main for name in STAGES))
    team.dvc("commit", "--force")
    team.commit(FIRST)
    head = team("git", "rev-parse", "HEAD").strip()
    Registry(team.root).promote(head, head, FIRST)
    return team


def draw_photos(folder: Path, first: int, count: int) -> Listed:
    """Puts the sample's photos of those numbers into ``folder/data``."""
    (folder / "data").mkdir(parents=True)
    listed = []
    options = digits.Options(train=first + count, test=1, seed=7)
    for row in islice(digits.rows(folder, options), first, first + count):
        (folder / "data" / f"{row.id}.png").write_bytes(row.photo())
        listed.append((f"{row.id}.png", " ".join(row.labels), row.caption))
    return listed


def list_photos(folder: Path, listed: Listed) -> None:
    """Puts the list into the folder, whole at once: a run may be reading."""
    with (folder / ".train.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("ImageID", "Labels", "Caption"), *listed])
    (folder / ".train.csv").rename(folder / "train.csv")


def ended(client: SyncPrefectClient) -> list[FlowRun]:
    final = FlowRunFilter(state={"type": {"any_": list(TERMINAL_STATES)}})
    return client.read_flow_runs(flow_run_filter=final, sort=FlowRunSort.START_TIME_ASC, limit=200)


def next_to_say(client: SyncPrefectClient, name: str) -> str:
    """The message of the next run that ends in the state ``name``; ends at a failed one."""
    before = {run.id for run in ended(client)}
    found = []

    def look() -> bool:
        new = [run for run in ended(client) if run.id not in before]
        assert not [run.state for run in new if run.state.is_failed() or run.state.is_crashed()]
        found[:] = [run.state.message for run in new if run.state.name == name]
        return bool(found)

    eventually(look, PATIENCE, every=0.5)
    return found[0]


@pytest.mark.timeout(1800)
def test_new_photos_are_learnt_and_spoilt_ones_are_not(
    team: Project, prefect_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment(forked_python.folder()).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "executable", forked_python.executable())
    deliveries = team.root / "data" / "raw" / "deliveries"
    listed = draw_photos(deliveries / ".monday", 100, 200)
    list_photos(deliveries / ".monday", listed)

    def trail() -> list[str]:
        """What Git says of the models that were promoted, the last one first."""
        told = team("git", "log", "--first-parent", "--format=%s: %b%x00", "champion", "^main")
        # The last line is Prefect's run.
        return [" ".join(each.split()).partition(" Run: ")[0] for each in told.split("\0")[:-1]]

    home = shutil.copytree(prefect_home, tmp_path / "prefect")
    with serving(team.root, home) as client:
        assert "Nothing is new" in next_to_say(client, "Skipped")

        (deliveries / ".monday").rename(deliveries / "monday")
        better = next_to_say(client, "Promoted")
        assert re.search(r"micro_f1 0\.\d+ on 90 photos, \+0\.\d+ \(\+0\.\d+ to ", better)
        assert trail() == [f"Promote {better}", f"{FIRST}:"]
        assert "Nothing is new" in next_to_say(client, "Skipped")

        names, labels, captions = zip(*listed, strict=True)
        spoilt = np.random.default_rng(0).permutation(labels)
        list_photos(deliveries / "monday", list(zip(names, spoilt, captions, strict=True)))
        worse = next_to_say(client, "Refused")
        assert "the gain is not surely above 0" in worse
        assert trail() == [f"Promote {better}", f"{FIRST}:"]
    assert team("git", "status", "--porcelain") == ""
    # Who was refused stays an experiment.
    assert {text.partition(":")[0] for text in (better, worse)} == set(
        team.dvc("exp", "list", "--names-only", "--all-commits").split()
    )

"""A project that is retrained as photos come: what is promoted, what is refused, what stays."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from prefect.client.orchestration import SyncPrefectClient

from flows.registry import BRANCH, Registry
from flows.registry import main as registry_command
from flows.retrain import decide, main, retrain
from flows.workspace import FOLDER, Workspace, mirror
from tests.flows.toy import ROOT, Toy, eventually

# What a network is good for is the mean of the numbers that were delivered.
MAKE = """
import json, pathlib, time
numbers = [json.loads(file.read_text()) for file in sorted(pathlib.Path("raw").rglob("*.json"))]
if "slow" in numbers:
    time.sleep(1000)
worth = sum(numbers) / len(numbers)
for name in ("models/network/network.txt", "data/records.parquet", "data/folds.parquet"):
    path = pathlib.Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{worth}")
for name in ("models/decision.json", "metrics.json"):
    pathlib.Path(name).write_text(json.dumps({"worth": worth}))
"""
JUDGE = """
import json, sys
from pathlib import Path
folder, out = Path(sys.argv[1]), Path(sys.argv[2].removeprefix("--out="))
assert (folder / "network" / "network.txt").is_file()
old, new = (json.loads(path.read_text())["worth"]
            for path in (folder / "decision.json", Path("models/decision.json")))
if new > 1000:
    raise MemoryError("a defect")
if new > 100:
    out.write_text(json.dumps({"incomparable": "they are beyond compare"}))
    sys.exit()
gain = {"value": new - old, "low": new - old - 0.1, "high": new - old + 0.1}
rates = {"before": 0.5, "new": None}
drift = {"photos": {"before": 7, "new": 2}, "label_rates": {"cat": rates}, "new_labels": ["owl"],
         "gone_labels": [], "unknown_words": rates, "median_size": {"before": [3, 2], "new": None}}
out.write_text(json.dumps({
    "rows": 9, "metric": "micro_f1", "gain": gain, "drift": drift, "champion": {"micro_f1": old},
    "challenger": {"micro_f1": new},
    "labels": {"cat": {"count": 5, "champion": old, "challenger": new}}}))
"""
PARAMS = "ingest:\n  root: raw\nretrain:\n  min_gain: 0.0\n  max_label_drop: 0.3\n"


@pytest.fixture
def growing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: None) -> Toy:
    """A project that was committed and never ran; its raw folder is not Git's. Current folder."""
    folder = tmp_path / "growing"
    folder.mkdir()
    for name, text in {
        "params.yaml": PARAMS,
        "make.py": MAKE,
        "stages/judge/__main__.py": JUDGE,
        "raw/README": "photos",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    toy = Toy(folder)
    outputs = (
        "models/network",
        "models/decision.json",
        "data/records.parquet",
        "data/folds.parquet",
    )
    stage = {
        "cmd": "python make.py",
        "deps": ["raw", "make.py"],
        "outs": list(outputs),
        "metrics": [{"metrics.json": {"cache": False}}],
    }
    model = {"path": "models/network", "type": "model"}
    pipeline = {"stages": {"make": stage}, "artifacts": {"model": model}}
    (folder / "dvc.yaml").write_text(json.dumps(pipeline))
    toy.git("init", "--quiet", "--initial-branch=main")
    toy.dvc("init", "--quiet")
    toy.git("add", ".")
    toy.git("-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "--quiet", "-m", "toy")
    monkeypatch.chdir(folder)
    return toy


def deliver(toy: Toy, name: str, worth: object) -> None:
    (toy.folder / "raw" / f"{name}.json").write_text(json.dumps(worth))


def run(**parameters: object) -> tuple[str, str]:
    """The state that a retraining ends in: its name and its message."""
    state = retrain(**parameters, return_state=True)
    return state.name, state.message


def in_use(toy: Toy) -> float:
    """What DVC's registry says is in use."""
    out = toy.folder.parent / "got"
    shutil.rmtree(out, ignore_errors=True)
    toy.dvc("artifacts", "get", ".", "model", "--stage", "champion", "--out", str(out))
    return float((out / "network.txt").read_text())


def test_better_models_are_promoted_and_others_are_not(
    growing: Toy, client: SyncPrefectClient, capsys: pytest.CaptureFixture[str]
) -> None:
    deliver(growing, "1", 0.5)
    name, message = run()
    assert (name, message[19:]) == ("Promoted", "the first model")
    registry = Registry(growing.folder)
    first = registry.champion()
    assert first.name == "v0.0.1"

    name, message = run()
    assert (name, message) == ("Skipped", "Nothing is new since the last retraining")

    deliver(growing, "2", 0.9)
    name, message = run()
    assert name == "Promoted"
    assert "micro_f1 0.700 on 9 photos, +0.200 (+0.100 to +0.300) over the model in use" in message
    second = registry.champion()
    assert [version.name for version in registry.versions()] == ["v0.0.1", "v0.0.2"]
    trail = growing.git("log", "--first-parent", "--format=%s", BRANCH).splitlines()
    assert [line.split()[0] for line in trail] == ["Promote", "Promote", "toy"]
    assert in_use(growing) == pytest.approx(0.7)

    deliver(growing, "3", 0.4)
    name, message = run()
    assert name == "Refused"
    assert "the gain is not surely above 0" in message
    assert registry.champion() == second
    assert run()[0] == "Skipped"

    # Nobody's checkout was touched; experiments and figures are there to look at.
    assert growing.git("status", "--porcelain") == "?? raw/1.json\n?? raw/2.json\n?? raw/3.json"
    assert not (growing.folder / "models").exists()
    assert len(growing.dvc("exp", "list", "--name-only").split()) == 3
    assert "0.7" in growing.dvc("metrics", "diff", "model@v0.0.1", BRANCH)
    path = {"key": "retrain"}
    told = client.request("GET", "/artifacts/{key}/latest", path_params=path).json()["data"]
    assert "| cat | 5 | 0.700 | 0.600 |" in told
    assert "New labels: owl" in told

    registry_command(["--use", "v0.0.1"])
    assert registry.champion() == first
    assert in_use(growing) == 0.5
    assert capsys.readouterr().out.splitlines()[0].startswith("→ v0.0.1")
    registry_command(["--use", "v0.0.2"])
    assert (registry.champion(), in_use(growing)) == (second, pytest.approx(0.7))
    with pytest.raises(SystemExit, match=r"no version v9 of the model: v0\.0\.1, v0\.0\.2"):
        registry_command(["--use", "v9"])


def test_what_cannot_be_judged_is_not_promoted(growing: Toy) -> None:
    deliver(growing, "1", 1)
    run()
    deliver(growing, "2", 1000)
    assert run()[1].endswith(": they are beyond compare")
    assert Registry(growing.folder).champion().name == "v0.0.1"
    assert run()[0] == "Skipped"
    deliver(growing, "3", 10_000)
    for _ in range(2):  # without a verdict, the next run judges again
        assert run() == ("Failed", "The judge broke off: MemoryError: a defect")


def test_a_stage_that_fails_is_tried_again(growing: Toy) -> None:
    deliver(growing, "1", "no number")
    name, message = run()
    assert (name, message[:29]) == ("Failed", "Stage make failed: TypeError:")
    assert Registry(growing.folder).champion() is None
    with pytest.raises(SystemExit, match="retrain: Stage make failed"):
        main([])
    deliver(growing, "1", 1)
    assert run()[0] == "Promoted"


def test_a_damaged_workspace_is_made_anew(growing: Toy) -> None:
    deliver(growing, "1", 1)
    run()
    (growing.folder / FOLDER / ".git" / "HEAD").write_text("what a kill left")
    assert run()[0] == "Skipped"


def test_one_at_a_time(growing: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.workspace.CLAIM", 0.2)
    with Workspace(growing.folder, "raw"):
        assert run() == ("Failed", "Another retraining is running in this project")


def test_a_killed_run_leaves_nothing_running_and_the_next_one_finishes(
    growing: Toy, client: SyncPrefectClient
) -> None:
    deliver(growing, "1", "slow")
    command = [sys.executable, "-m", "flows.retrain"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PREFECT_API_URL": str(client.api_url)}
    made = growing.folder / FOLDER
    with subprocess.Popen(command, env=environment) as process:
        eventually(lambda: _in(made, "make.py"), 60)
        process.kill()
    eventually(lambda: not _in(made, "make.py"), 30)
    deliver(growing, "1", 1)
    assert run()[0] == "Promoted"


def _in(folder: Path, part: str) -> bool:
    """Whether a process with ``part`` in its command line runs in ``folder``."""
    for process in psutil.process_iter():
        try:
            if part in process.cmdline() and process.cwd() == str(folder):
                return True
        except psutil.Error:
            continue
    return False


def test_a_promotion_that_was_cut_short_is_completed(growing: Toy) -> None:
    deliver(growing, "1", 1)
    run()
    registry = Registry(growing.folder)
    base, first = growing.git("rev-parse", "HEAD"), registry.champion()
    again = registry.promote(first.rev, base, "the same")
    assert again == first
    growing.git("checkout", "--quiet", BRANCH)
    deliver(growing, "2", 2)
    name, message = run()
    assert name == "Failed"
    assert message.startswith("The branch champion is checked out")
    assert registry.champion() == first


FIGURES = {
    "rows": 9,
    "metric": "macro_f1",
    "gain": {"value": 0.02, "low": 0.01, "high": 0.03},
    "champion": {"macro_f1": 0.5},
    "challenger": {"macro_f1": 0.52},
    "labels": {"cat": {"count": 5, "champion": 0.9, "challenger": 0.75}},
}


@pytest.mark.parametrize(
    ("min_gain", "max_drop", "said"),
    [
        (0.0, 0.2, None),
        (0.01, 0.2, "the gain is not surely above 0.01"),
        (0.0, 0.1, "F1 of cat falls by 0.150, more than 0.1"),
    ],
)
def test_what_decides(min_gain: float, max_drop: float, said: str | None) -> None:
    params = {"retrain.min_gain": min_gain, "retrain.max_label_drop": max_drop}
    verdict = decide(FIGURES, params)
    assert verdict.promoted is (said is None)
    assert said is None or verdict.reason.endswith(said)


def test_a_mirror_follows_what_it_shows(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "deep" / "deeper").mkdir(parents=True)
    (source / "deep" / "deeper" / "a").write_text("1")
    (source / "b").write_text("2")
    (source / "link").symlink_to(source / "b")
    mirror(source, target)
    assert (target / "deep" / "deeper" / "a").samefile(source / "deep" / "deeper" / "a")
    assert (target / "link").is_symlink()
    (source / "b").unlink()
    (source / "b").mkdir()
    (source / "b" / "c").write_text("3")
    (source / "deep" / "deeper" / "a").unlink()
    (source / "deep" / "deeper" / "a").write_text("new")
    (source / "link").unlink()
    mirror(source, target)
    assert (target / "b" / "c").read_text() == "3"
    assert (target / "deep" / "deeper" / "a").read_text() == "new"
    assert sorted(path.name for path in target.iterdir()) == ["b", "deep"]

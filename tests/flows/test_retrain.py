"""A project that is retrained as photos come: what is promoted, what is refused, what stays."""

import os
import signal
import subprocess
from pathlib import Path

import psutil
import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.states import Cancelling

from experiments.dvc_project import Transient
from experiments.registry import BRANCH, Registry
from experiments.registry import main as registry_command
from experiments.verdict import decide
from experiments.workspace import FOLDER, Workspace
from flows.retrain import main
from tests import forked_python
from tests.flows.retraining_project import deliver, in_use, run
from tests.flows.test_serve import END, deployment, serving
from tests.toy import ROOT, Toy, eventually


def test_better_models_are_promoted_and_others_are_not(
    retraining_project: Toy, client: SyncPrefectClient, capsys: pytest.CaptureFixture[str]
) -> None:
    deliver(retraining_project, "1", 0.5)
    name, message = run()
    assert (name, message[19:]) == ("Promoted", "the first model")
    registry = Registry(retraining_project.folder)
    first = registry.champion()
    assert first.name == "v0.0.1"

    name, message = run()
    assert (name, message) == ("Skipped", "Nothing is new since the last retraining")

    deliver(retraining_project, "2", 0.9)
    name, message = run()
    assert name == "Promoted"
    assert "micro_f1 0.700 on 9 photos, +0.200 (+0.100 to +0.300) over the model in use" in message
    second = registry.champion()
    assert [version.name for version in registry.versions()] == ["v0.0.1", "v0.0.2"]
    trail = retraining_project.git("log", "--first-parent", "--format=%s", BRANCH).splitlines()
    assert [line.split()[0] for line in trail] == ["Promote", "Promote", "toy"]
    assert in_use(retraining_project) == pytest.approx(0.7)

    deliver(retraining_project, "3", 0.4)
    name, message = run()
    assert name == "Refused"
    assert "the gain is not surely above 0" in message
    assert registry.champion() == second
    assert run()[0] == "Skipped"

    # Nobody's checkout was touched; experiments and figures are there to look at.
    assert (
        retraining_project.git("status", "--porcelain")
        == "?? raw/1.json\n?? raw/2.json\n?? raw/3.json"
    )
    assert not (retraining_project.folder / "models").exists()
    assert len(retraining_project.dvc("exp", "list", "--name-only").split()) == 3
    assert "0.7" in retraining_project.dvc("metrics", "diff", "model@v0.0.1", BRANCH)
    path = {"key": "retrain"}
    page = client.request("GET", "/artifacts/{key}/latest", path_params=path).json()["data"]
    assert "| micro_f1 | 0.700 (0.600–0.800) | 0.600 (0.500–0.700) |" in page
    assert "| cat | 5 | 0.700 (0.600–0.800) | 0.600 (0.500–0.700) | 0.500 | 0.500 |" in page
    assert "| size, MB | 1.5 | 1.5 |" in page
    assert "New labels: owl" in page

    registry_command(["--use", "v0.0.1"])
    assert registry.champion() == first
    assert in_use(retraining_project) == 0.5
    assert capsys.readouterr().out.splitlines()[0].startswith("→ v0.0.1")
    registry_command(["--use", "v0.0.2"])
    assert (registry.champion(), in_use(retraining_project)) == (second, pytest.approx(0.7))
    with pytest.raises(SystemExit, match=r"no version v9 of the model: v0\.0\.1, v0\.0\.2"):
        registry_command(["--use", "v9"])


def test_what_cannot_be_judged_is_not_promoted(retraining_project: Toy) -> None:
    deliver(retraining_project, "1", 1)
    run()
    deliver(retraining_project, "2", 1000)
    assert run()[1].endswith(": they are beyond compare")
    assert Registry(retraining_project.folder).champion().name == "v0.0.1"
    assert run()[0] == "Skipped"
    deliver(retraining_project, "3", 10_000)
    for _ in range(2):  # without a verdict, the next run judges again
        assert run() == ("Failed", "The judge broke off: MemoryError: a defect")


def test_a_stage_that_fails_is_tried_again(retraining_project: Toy) -> None:
    deliver(retraining_project, "1", "no number")
    name, message = run()
    assert (name, message[:29]) == ("Failed", "Stage make failed: TypeError:")
    assert Registry(retraining_project.folder).champion() is None
    with pytest.raises(SystemExit, match="retrain: Stage make failed"):
        main([])
    deliver(retraining_project, "1", 1)
    assert run()[0] == "Promoted"


def test_a_damaged_workspace_is_made_anew(retraining_project: Toy) -> None:
    deliver(retraining_project, "1", 1)
    run()
    (retraining_project.folder / FOLDER / ".git" / "HEAD").write_text("what a kill left")
    assert run()[0] == "Skipped"


def test_one_at_a_time(retraining_project: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("experiments.dvc_project.processes.LOCK_WAIT", 0.2)
    with Workspace(retraining_project.folder):
        assert run() == ("Failed", "Another retraining is running in this project")
        with pytest.raises(Transient), Workspace(retraining_project.folder):
            pass  # so that a deployment tries again


def test_a_killed_run_leaves_nothing_running_and_the_next_one_finishes(
    retraining_project: Toy, client: SyncPrefectClient
) -> None:
    deliver(retraining_project, "1", "slow")
    command = [forked_python.executable(), "-m", "flows.retrain"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PREFECT_API_URL": str(client.api_url)}
    made = retraining_project.folder / FOLDER
    with subprocess.Popen(command, env=environment) as process:
        eventually(lambda: _in(made, "make.py"))
        process.kill()
    eventually(lambda: not _in(made, "make.py"), 30)
    deliver(retraining_project, "1", 1)
    assert run()[0] == "Promoted"


def test_a_cancelled_run_ends_within_seconds_and_the_next_one_finishes(
    retraining_project: Toy, client: SyncPrefectClient, tmp_path: Path
) -> None:
    deliver(retraining_project, "1", "slow")
    made = retraining_project.folder / FOLDER
    with serving(tmp_path / "log", PREFECT_API_URL=str(client.api_url)) as process:
        served = eventually(lambda: deployment(client, "retrain"))

        def ended(run: FlowRun) -> str | None:
            state = client.read_flow_run(run.id).state
            return state.name if state.is_final() else None

        run = client.create_flow_run_from_deployment(served.id)
        eventually(lambda: _in(made, "make.py"))
        client.set_flow_run_state(run.id, Cancelling())  # what the button in the UI does
        eventually(lambda: not _in(made, "make.py"), 20)
        assert eventually(lambda: ended(run)) == "Cancelled"
        deliver(retraining_project, "1", 1)
        run = client.create_flow_run_from_deployment(served.id)
        assert eventually(lambda: ended(run)) == "Promoted"
        process.send_signal(signal.SIGINT)
        process.wait(END)


def _in(folder: Path, part: str) -> bool:
    """Whether a process with ``part`` in its command line runs in ``folder``."""
    for process in psutil.process_iter():
        try:
            if part in process.cmdline() and process.cwd() == str(folder):
                return True
        except psutil.Error:
            continue
    return False


def test_a_promotion_that_was_cut_short_is_completed(retraining_project: Toy) -> None:
    deliver(retraining_project, "1", 1)
    run()
    registry = Registry(retraining_project.folder)
    base, first = retraining_project.git("rev-parse", "HEAD"), registry.champion()
    again = registry.promote(first.rev, base, "the same")
    assert again == first
    retraining_project.git("checkout", "--quiet", BRANCH)
    deliver(retraining_project, "2", 2)
    name, message = run()
    assert name == "Failed"
    assert message.startswith("The branch champion is checked out")
    assert registry.champion() == first


FIGURES = {
    "rows": 9,
    "metric": "macro_f1",
    "gain": {"value": 0.02, "low": 0.01, "high": 0.03},
    "champion": {"macro_f1": {"value": 0.5}},
    "challenger": {"macro_f1": {"value": 0.52}},
    "labels": {
        "cat": {"count": 5, "champion": {"value": 0.9}, "challenger": {"value": 0.75}},
        "dog": {"count": 0, "champion": None, "challenger": None},
    },
}


@pytest.mark.parametrize(
    ("min_gain", "max_drop", "refusal"),
    [
        (0.0, 0.2, None),
        (0.01, 0.2, "the gain is not surely above 0.01"),
        (0.0, 0.1, "F1 of cat falls by 0.150, more than 0.1"),
    ],
)
def test_what_decides(min_gain: float, max_drop: float, refusal: str | None) -> None:
    params = {"retrain.min_gain": min_gain, "retrain.max_label_drop": max_drop}
    verdict = decide(FIGURES, params)
    assert verdict.promoted is (refusal is None)
    assert refusal is None or verdict.reason.endswith(refusal)


def test_a_gain_that_may_be_chance_for_all_that_is_known_does_not_promote() -> None:
    gain = {"value": 0.02, "low": None, "high": None, "reason": "they differ on 3 photos"}
    params = {"retrain.min_gain": 0.0, "retrain.max_label_drop": 0.2}
    verdict = decide(FIGURES | {"gain": gain}, params)
    assert not verdict.promoted
    assert "+0.020 over the model in use; " in verdict.reason
    assert verdict.reason.endswith("cannot be said: they differ on 3 photos")

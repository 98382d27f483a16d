"""A stage that says nothing is ended, with all its processes, and the run fails with a sentence."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from prefect.client.orchestration import SyncPrefectClient

from experiments.dvc_project import Silent, output_lines
from experiments.registry import Registry
from flows.reproduce import reproduce
from flows.sweep import sweep
from tests.flows.retraining_project import deliver, run
from tests.toy import Toy

MINUTES = 0.05
SENTENCE = f"it said nothing for {MINUTES} minutes (retrain.patience), so it was ended"
SILENT = {"cmd": "echo begun; sleep 1000 | sleep 1000", "outs": ["silent.txt"]}


def impatient(toy: Toy) -> None:
    """The project's ``retrain.patience`` is from now on short."""
    path = toy.folder / "params.yaml"
    text = path.read_text()
    text += "" if "retrain:" in text else "retrain:\n"
    path.write_text(f"{text}  patience: {MINUTES}\n")


def commit(toy: Toy) -> None:
    toy.git("-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-qam", "impatient")


def test_a_silent_stage_is_ended(toy: Toy, server: None) -> None:
    impatient(toy)
    talks = "for i in 1 2 3 4; do sleep 1; printf '\\r%s' $i; done; touch talks.txt"
    toy.write(talks={"cmd": talks, "outs": ["talks.txt"]}, silent=SILENT | {"deps": ["talks.txt"]})
    state = reproduce(["silent"], return_state=True)
    assert (state.name, state.message) == ("Failed", f"Stage silent failed: {SENTENCE}")
    assert toy.sleeping() == 0
    assert (toy.folder / "talks.txt").exists()
    toy.write(silent={"cmd": "touch silent.txt", "outs": ["silent.txt"]})
    assert reproduce(["silent"], return_state=True).name == "Completed"


def test_an_experiment_of_a_sweep_is_ended(toy: Toy, client: SyncPrefectClient) -> None:
    impatient(toy)
    toy.write(last=SILENT | {"params": ["b"]})
    commit(toy)
    state = sweep(grid=["b=5"], return_state=True)
    assert (state.name, state.message) == ("Failed", "1 of 1 failed: b=5")
    path = {"key": "sweep"}
    table = client.request("GET", "/artifacts/{key}/latest", path_params=path).json()["data"]
    assert f"Stage last failed: {SENTENCE}" in table
    assert toy.sleeping() == 0


def test_a_retraining_is_ended_and_so_is_its_judge(retraining_project: Toy) -> None:
    impatient(retraining_project)
    commit(retraining_project)
    deliver(retraining_project, "1", 1)
    assert run()[0] == "Promoted"
    deliver(retraining_project, "2", 100_000)
    assert run() == ("Failed", f"The judge broke off: {SENTENCE}")
    deliver(retraining_project, "2", "slow")
    assert run() == ("Failed", f"Stage make failed: {SENTENCE}")
    assert Registry(retraining_project.folder).champion().name == "v0.0.1"


def talking(code: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-uc", f"import time\n{code}"]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


def test_lines_come_as_they_are_said() -> None:
    code = "print('one\\n\\n0 %\\r50 %\\r100 %\\r')\nprint('two\\r\\nthree', end='')"
    with talking(code) as process:
        assert list(output_lines(process)) == ["one", "", "100 %", "two", "three"]


@pytest.mark.parametrize(
    ("line", "is_limited"),
    [
        ("Running stage 'one':", True),
        ("Stage 'one' didn't change, skipping", False),
        ("Updating lock file 'dvc.lock'", False),
    ],
)
def test_only_a_stage_has_to_talk(line: str, is_limited: bool, tmp_path: Path) -> None:
    begun = time.monotonic()
    with talking(f'print("Running stage \'one\':")\nprint("{line}")\ntime.sleep(2)') as process:
        lines = output_lines(process, patience=0.01)
        if is_limited:
            with pytest.raises(Silent, match=r"for 0\.01 minutes"):
                list(lines)
            assert process.poll() is None
            process.kill()
        else:
            assert len(list(lines)) == 2
            assert time.monotonic() - begun > 2

"""What is wrong in params.yaml is said before anything runs."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from experiments.plan import PlanError
from flows.params import check_params
from flows.reproduce import reproduce
from flows.serve import clock
from flows.sweep import sweep
from tests.flows.retraining_project import deliver, run
from tests.toy import Toy

CRON = 'params.yaml: retrain.cron: Invalid cron string: "61 * * * *"'
# The project's own check, which the stages of a toy have not.
CHECK = """
import sys
if "b=2" in sys.argv:
    sys.exit("params.yaml: b is to be 1")
"""


def clocked(toy: Toy, cron: str, timezone: str = "UTC") -> None:
    with (toy.folder / "params.yaml").open("a") as file:
        file.write(f"retrain:\n  cron: {cron}\n  timezone: {timezone}\n")


@pytest.mark.parametrize(
    ("cron", "timezone", "sentence"),
    [
        ("61 * * * *", "UTC", CRON),
        ("5", "UTC", "params.yaml: retrain.cron: Input should be a valid string"),
        ("0 3 * * *", "Berlin", 'params.yaml: retrain.timezone: Invalid timezone: "Berlin"'),
    ],
)
def test_a_clock_that_prefect_does_not_know(
    toy: Toy, cron: str, timezone: str, sentence: str
) -> None:
    clocked(toy, cron, timezone)
    with pytest.raises(PlanError, match=rf"^{re.escape(sentence)}[^\n]*$"):
        check_params(toy.folder)
    with pytest.raises(PlanError, match=re.escape(sentence)):
        clock(toy.folder)


@pytest.mark.parametrize("flow", [reproduce, lambda **how: sweep(grid=["b=3"], **how)])
def test_a_flow_checks_it_before_anything_runs(
    toy: Toy, server: None, flow: Callable[..., object]
) -> None:
    clocked(toy, "61 * * * *")
    (toy.folder / "in.txt").write_text("another")
    state = flow(return_state=True)
    assert (state.name, state.message.removeprefix("b=3: ")) == ("Failed", CRON)
    assert (toy.folder / "a.txt").read_text() == "in\n"


def test_the_project_says_what_its_parameters_may_be(toy: Toy, server: None) -> None:
    toy.own_check(CHECK)
    assert reproduce(return_state=True).name == "Completed"
    state = reproduce(overrides=["b=2"], return_state=True)
    assert (state.name, state.message) == ("Failed", "params.yaml: b is to be 1")


def test_retrain_checks_what_its_commit_has(retraining_project: Toy) -> None:
    deliver(retraining_project, "1", 1)
    path = Path("params.yaml")
    right = path.read_text()
    path.write_text(right + "  cron: 61 * * * *\n  timezone: UTC\n")
    retraining_project.git(
        "-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-qam", "a clock"
    )
    path.write_text(right)
    assert run() == ("Failed", CRON)


def test_a_project_without_parameters(toy: Toy, server: None) -> None:
    toy.stages = {"only": {"cmd": "touch only.txt", "outs": ["only.txt"]}}
    toy.write()
    Path("params.yaml").unlink()
    assert reproduce(return_state=True).message == "Ran only"

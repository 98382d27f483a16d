"""What benchmarks print, and that each can be started; how fast anything is, no test asks."""

import shutil
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

from benchmarks import search, soak
from benchmarks.__main__ import BENCHMARKS
from benchmarks.backbones import FAMILIES
from benchmarks.table import Options, Row, in_turn
from experiments.search import read_search
from stages.network.nets import timm_backbones
from stages.params import read
from stages.train.params import Train
from tests.conftest import ROOT

TINY = Options(photos=12, repeats=1)


def row(goal: str, ours: list[float]) -> Row:
    return Row("what", "peer", "s", ours, [4.0] * len(ours), goal, "why")


@pytest.mark.parametrize(
    ("goal", "ours", "met"),
    [
        ("≤ 0.5", [1, 2, 9], True),  # the median counts
        ("≤ 0.4", [1, 2, 9], False),
        ("≥ 0.5", [1, 2, 9], True),
        ("≥ 0.6", [1, 2, 9], False),
        ("", [1], None),
        ("≥ 0.6", [], None),
    ],
)
def test_a_goal_is_met_or_not(goal: str, ours: list[float], met: bool | None):
    assert row(goal, ours).is_met is met


def test_a_row_tells_the_spread_and_what_was_not_measured():
    assert str(row("≤ 0.4", [1, 2, 9])) == (
        "| what | 2 s | peer: 4 s | 0.5 (0.25–2.25) | ≤ 0.4 | not met; why |"
    )
    assert str(row("≤ 0.4", [])) == "| what | not measured | peer | | ≤ 0.4 | why |"


def test_both_sides_are_measured_in_turn():
    order = []
    figures = in_turn(3, lambda: order.append("a") or 1.0, lambda: order.append("b") or 2.0)
    assert "".join(order) == "abbaab"
    assert figures == ([1.0] * 3, [2.0] * 3)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_can_be_started(name: str):
    assert callable(import_module(f"benchmarks.{name}").rows)


def test_ten_families_of_backbones_are_taken_through_everything():
    assert len(FAMILIES) == 10
    assert all(timm_backbones.is_known(name) for name in FAMILIES.values())


@pytest.mark.parametrize("name", ["search", "tables", "text", "threshold"])
def test_a_benchmark_of_made_up_data_runs(name: str):
    found = list(import_module(f"benchmarks.{name}").rows(TINY))
    assert found
    assert all(len(each.ratios) == 1 and each.ratios[0] > 0 for each in found)


def test_a_search_and_random_trials_spend_as_many_epochs(
    in_tmp: Path, monkeypatch: pytest.MonkeyPatch
):
    shutil.copy(ROOT / "params.yaml", in_tmp)
    spent: list[float] = []

    def learn(report: Callable[[dict[str, float]], None]) -> float:
        lr = read(Train).lr
        for _ in range(search.EPOCHS):
            spent.append(lr)
            report({"validation/micro_f1": lr})
        return lr

    monkeypatch.setattr(search, "learn", learn)
    found = read_search(ROOT, search.SPACE)
    for is_random in (False, True):
        spent.clear()
        best = search.best(found, 3 * search.EPOCHS, is_random)
        assert best == max(spent)
        trials = Counter(spent).values()
        assert sum(trials) - [*trials][-1] < 3 * search.EPOCHS <= sum(trials)
        assert (min(trials) < search.EPOCHS) != is_random  # some are ended early, or none


@pytest.mark.parametrize("name", ["gpu", "learning", "runtimes"])
def test_without_being_asked_for_a_gpu_its_rows_are_not_measured(name: str):
    found = list(import_module(f"benchmarks.{name}").rows(TINY))
    assert found
    assert all("not measured" in str(each) for each in found)


@pytest.mark.parametrize(
    ("received", "status"),
    [
        (b"HTTP/1.1 422 Unprocessable Content\r\n\r\n{}", b"422"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 2 + b"HTTP/1.1 200 OK\r\n\r\n", b"200"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", None),
        (b"", None),
        (b"\x15\x03\x01", None),
    ],
)
def test_a_soak_tells_answers_from_none(received: bytes, status: bytes | None):
    found = soak.ANSWER.match(received)
    assert (found and found[1]) == status


def test_a_soak_sends_all_that_is_hostile():
    sent = soak.hostile()
    assert len(sent) >= 274
    assert all(content for _, content in sent)

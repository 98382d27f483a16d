"""The simulation of a cluster says what can be computed where that can be."""

import math
from dataclasses import replace

import pytest

from benchmarks.schedule import Cluster, Policy, Work, simulate

PLAIN = Cluster(2, 4, piece=0, deviation=0, slow=0, failures=0)  # 8 cores
WORK = Work(photos=10, seconds=0.1)  # 1 s a piece


@pytest.mark.parametrize("pieces", [1, 8, 9, 1000, 1001])
def test_cores_alone(pieces: int):
    outcome = simulate(pieces, WORK, PLAIN)
    assert outcome.seconds == pytest.approx(math.ceil(pieces / 8))
    assert outcome.cores == pytest.approx(pieces / 8 / math.ceil(pieces / 8))


def test_the_head_alone():
    outcome = simulate(1000, replace(WORK, head=0.05), replace(PLAIN, piece=0.5))
    assert outcome.seconds == pytest.approx(1000 * (0.5 + 0.05 * 10) + 1)  # and the last piece
    assert outcome.bound == "head"


def test_the_file_system_alone():
    outcome = simulate(1000, replace(WORK, moved=5e8), replace(PLAIN, bandwidth=1e9))
    assert outcome.seconds == pytest.approx(1000 * 5)
    assert outcome.bound == "files"


def test_slow_nodes_take_fewer_pieces():
    """One of two nodes takes 4 s a piece: 5 pieces a core of each pair in 4 s."""
    outcome = simulate(5 * 4 * 50, WORK, replace(PLAIN, slow=0.5, slowness=4), Policy(3, 50))
    assert outcome.seconds == pytest.approx(4 * 50, rel=0.02)


def test_in_order_a_slow_piece_holds_up_others_that_have_no_room():
    """A core ends two more pieces while the slow node is at one; then it waits for that."""
    slow = replace(PLAIN, slow=0.5, slowness=100)
    narrow, wide = (simulate(400, WORK, slow, Policy(3, held)) for held in (3, 60))
    assert narrow.seconds > 5 * wide.seconds


def test_what_a_failure_takes():
    """A lost piece is done again; while another node is awaited there are fewer cores."""
    failing = replace(PLAIN, failures=1.0, noticed=10, replaced=600)
    outcome = simulate(8 * 36_000, WORK, failing, Policy(3, 1000))  # ten hours, without
    assert outcome.lost > 0
    # A node works for an hour, and then there is none for ten minutes.
    assert outcome.seconds == pytest.approx(36_000 * (1 + 600 / 3600), rel=0.1)

"""What must hold whatever is killed, however full the disk is and whoever works beside it."""

import random
from pathlib import Path

import pytest
from prefect.client.orchestration import SyncPrefectClient

from tests.flows.fire import PROMOTING, Ground, hit

ENDS = ("promoted", "refused", "skipped")


@pytest.fixture
def ground(tmp_path: Path, client: SyncPrefectClient) -> Ground:
    """A project with a champion, and something new to learn."""
    ground = Ground(tmp_path / "project", str(client.api_url))
    ground.deliver(0)
    assert ground.undisturbed() == "promoted"
    ground.check_end()
    ground.deliver(1)
    return ground


def test_killed_again_and_again(ground: Ground) -> None:
    """``python -m tests.flows.fire`` is the longer one."""
    chance = random.Random(7)
    for target in ("stage", "judge", PROMOTING):
        assert hit(ground, target, chance).reads > 0
    assert ground.undisturbed() in ENDS
    ground.check_end()

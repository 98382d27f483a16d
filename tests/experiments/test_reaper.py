import io
import subprocess

import pytest

from experiments import reaper


def test_who_does_not_listen_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reaper, "GRACE", 0.3)
    # The shell ignores both signals, and so does what it starts.
    command = "trap '' INT TERM; sleep 1000 & echo ready; wait; wait"
    with subprocess.Popen(
        ["sh", "-c", command], start_new_session=True, stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        assert reaper.alive(process.pid)
        reaper.end(process.pid)
        assert not reaper.alive(process.pid)


def test_a_run_that_went_well_leaves_its_processes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen(["sleep", "1000"], start_new_session=True) as process:
        for text, lives in ((f"{process.pid}\ndone\n", True), (f"{process.pid}\n", False)):
            monkeypatch.setattr("sys.stdin", io.StringIO(text))
            reaper.main()
            assert reaper.alive(process.pid) is lives

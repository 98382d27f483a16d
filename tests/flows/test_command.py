"""A flow on the command line, without a Prefect server that answers."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows import SERVER_START, reproduce, retrain, sweep
from tests import forked_python
from tests.toy import ROOT, Toy, eventually

NOBODY = "http://127.0.0.1:9/api"


@pytest.mark.parametrize(
    ("main", "arguments"),
    [(reproduce.main, []), (sweep.main, ["--grid", "b=1,2"]), (retrain.main, [])],
)
def test_a_server_that_does_not_answer(
    toy: Toy, main: Callable[[list[str]], None], arguments: list[str]
) -> None:
    with (
        temporary_settings({PREFECT_API_URL: NOBODY}),
        pytest.raises(SystemExit, match=f"^[a-z]+: Prefect's server at {NOBODY} does not answer"),
    ):
        main(arguments)


def test_a_temporary_server_that_goes_away(toy: Toy, prefect_home: Path, tmp_path: Path) -> None:
    toy.write(slow={"cmd": "sleep 1000", "outs": ["slow.txt"]})
    environment = {key: value for key, value in os.environ.items() if key != "PREFECT_API_URL"}
    environment |= {"PYTHONPATH": str(ROOT), "PREFECT_CLIENT_MAX_RETRIES": "0"}
    environment["PREFECT_HOME"] = str(shutil.copytree(prefect_home, tmp_path / "prefect"))
    log = tmp_path / "log"
    with (
        log.open("wb") as out,
        subprocess.Popen(
            [forked_python.executable(), "-m", "flows.reproduce", "slow"],
            env=environment,
            stdout=out,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        eventually(toy.sleeping, SERVER_START)
        (server,) = (each for each in started_in(toy.folder) if "uvicorn" in each.cmdline())
        server.kill()
        (sleep,) = (each for each in started_in(toy.folder) if each.name() == "sleep")
        sleep.kill()
        assert process.wait(60) == 1
    text = log.read_text()
    assert "Traceback" not in text
    assert "\nreproduce: Prefect's temporary server gives no answer (" in text


def started_in(folder: Path) -> Iterator[psutil.Process]:
    """The processes that run in the folder."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # ended meanwhile, or somebody else's
            if process.cwd() == str(folder):
                yield process


def test_a_temporary_server_has_as_much_time_as_another() -> None:
    look = (
        "import flows, prefect.settings as s;"
        "print(s.PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS.value())"
    )
    done = subprocess.run(
        [sys.executable, "-c", look], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) == SERVER_START

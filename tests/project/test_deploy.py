"""What the files in deploy/ say holds; ``python -m docs.image`` tries the whole of one."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from docs.image import FILE, instructions
from tests.conftest import ROOT
from tests.hostile import jpeg
from tests.serve.test_command import MODULE, announced

DEPLOY = ROOT / "deploy"
# The command after the folder runs where all is read-only but that folder, if it is one.
READ_ONLY = [
    *("unshare", "--mount", "sh", "-c"),
    'mount -o remount,bind,ro / && { [ ! -d "$1" ] || [ "$1" = / ] || mount -t tmpfs none "$1"; } '
    '&& shift && exec "$@"',
    "sh",
]


def said(name: str) -> list[str]:
    return [rest for each, rest in instructions(FILE.read_text("utf-8")) if each == name]


def test_the_image_is_of_locked_packages_and_of_no_root():
    [packages, ours] = said("RUN")
    locked = (ROOT / "requirements.lock").read_text("utf-8")
    for package in packages.partition("requirements.lock ")[2].split():
        assert re.search(rf"^{package}==", locked, re.MULTILINE), package
    assert "--no-deps" in ours
    assert int(said("USER")[-1].partition(":")[0]) > 0
    assert json.loads(said("ENTRYPOINT")[0]) == ["tagloom"]
    kept = (DEPLOY / "Dockerfile.dockerignore").read_text("utf-8")
    for source in " ".join(said("COPY")).split():
        assert source == "./" or f"!{source}\n" in kept


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze")
def test_systemd_understands_the_unit(tmp_path: Path):
    text = (DEPLOY / "tagloom.service").read_text("utf-8")
    unit = tmp_path / "tagloom.service"
    unit.write_text(text.replace("/opt/tagloom/bin/tagloom", sys.executable))
    done = subprocess.run(
        ["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def is_allowed() -> bool:
    return (
        subprocess.run([*READ_ONLY, "/", "true"], capture_output=True, check=False).returncode == 0
    )


@pytest.mark.parametrize("workers", [1, 2])
def test_it_runs_where_nothing_can_be_written(bundle: Path, tmp_path: Path, workers: int):
    """Without a home, and on a disk that is read-only; several workers need a temporary folder."""
    if not is_allowed():
        pytest.skip("this machine lets nobody mount")
    scratch = tmp_path if workers > 1 else Path("/proc/none")
    options = ("--onnx", "--bundle", bundle, "--workers", workers, "--port", 0, "--notice", 0)
    with subprocess.Popen(
        [*READ_ONLY, scratch, sys.executable, "-c", MODULE, "serve", *map(str, options)],
        cwd="/",
        env={"PATH": "/usr/bin:/bin", "TMPDIR": str(scratch), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        address, log = announced(process)
        files = {"photos": jpeg()}
        assert httpx.post(f"{address}/predict", files=files, timeout=30).status_code == 200
        process.terminate()
        log += process.communicate(timeout=30)[0]
    assert "telemetry" not in log
    assert "Traceback" not in log

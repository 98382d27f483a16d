"""From nothing but the wheel and a folder of photos to an answer of one's own model."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import polars as pl
import pytest
from PIL import Image
from ruamel.yaml import YAML

from tests import forked_python
from tests.conftest import ROOT
from tests.pipeline.conftest import environment

COLORS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (40, 40, 220)}
NOBODY = "http://127.0.0.1:9"


def run(*command: str | Path, cwd: Path, **variables: str) -> str:
    """What a command prints that sees no folder of these tests."""
    settings = environment() | {"HF_ENDPOINT": NOBODY, "HF_HOME": str(cwd)} | variables
    settings.pop("PYTHONPATH", None)
    done = subprocess.run(
        command, cwd=cwd, env=settings, text=True, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """As ``make wheel`` builds it of the commit, with the setuptools that is there."""
    clone = tmp_path / "clone"
    run("git", "clone", "--quiet", ROOT, clone, cwd=tmp_path)
    (clone / ".venv").mkdir()
    (clone / ".venv" / "installed").touch()
    run("make", "wheel", cwd=clone, PIP_NO_BUILD_ISOLATION="0", PIP_NO_INDEX="1")
    (built,) = (clone / "dist").glob("*.whl")
    return built


@pytest.fixture
def installed(wheel: Path, tmp_path: Path) -> Path:
    """``bin`` of an environment with the wheel, and with all packages but Tagloom of this one."""
    folder = tmp_path / "environment"
    venv.create(folder, with_pip=False)
    (packages,) = folder.glob("lib/python*/site-packages")
    # What is there to make a package editable counts only in the folder of that environment itself.
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib"))
    pip = [sys.executable, "-m", "pip", "--python", folder, "install", "--quiet", "--no-deps"]
    run(*pip, "--no-index", "--disable-pip-version-check", wheel, cwd=tmp_path)
    return folder / "bin"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder for each label, some photos in two of them; no hint of what else they are."""
    folder = tmp_path / "my photos"
    for number in range(30):
        names = [list(COLORS)[number % 3], *(["dark"] if number % 2 else [])]
        color = tuple(each // (1 + number % 2) + number for each in COLORS[names[0]])
        for name in names:
            (folder / name).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (24, 20), color).save(folder / name / f"{number}.png")
    return folder


def test_a_wheel_and_photos_are_enough(installed: Path, photos: Path, tmp_path: Path):
    where = run(installed / "python", "-c", "import tagloom; print(tagloom.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(installed.parent)

    said = run(installed / "tagloom", "init", "own", "--photos", photos.name, cwd=tmp_path)
    assert "4 labels" in said
    assert "cannot be downloaded" in said
    project = tmp_path / "own"
    values = YAML(typ="safe").load(project / "params.yaml")
    assert (values["train"]["weights"], values["ingest"]["source"]) == ("none", "folders")

    path = os.pathsep.join(map(str, [forked_python.folder(), installed, os.environ["PATH"]]))
    run(installed / "python", "-m", "dvc", "repro", "--quiet", cwd=project, PATH=path)
    assert (project / "report" / "index.html").is_file()
    assert run("git", "status", "--porcelain", cwd=project).split() == [
        *("??", "dvc.lock", "??", "metrics/")
    ]

    shutil.copy(photos / "red" / "0.png", tmp_path / "holiday.png")
    run(
        installed / "tagloom", "predict", tmp_path / "holiday.png", "--output", "a.csv", cwd=project
    )
    assert len(pl.read_csv(project / "a.csv")) == 1

"""What runs the checks elsewhere runs the ones that are run here."""

import re
import shutil
import subprocess
import tomllib
from typing import Any

import pytest
from packaging.specifiers import SpecifierSet
from ruamel.yaml import YAML

from tests.conftest import LONGEST, ROOT, SLOW
from tests.project.makefile import RULES, TARGETS
from tests.toy import Toy

FILES = [ROOT / ".pre-commit-config.yaml", *sorted((ROOT / ".github").rglob("*.yml"))]


def load(name: str) -> Any:
    return YAML(typ="safe", pure=True).load((ROOT / name).read_text("utf-8"))


@pytest.mark.parametrize("name", [str(file.relative_to(ROOT)) for file in FILES])
def test_each_file_is_yaml(name: str):
    assert isinstance(load(name), dict)


def test_each_target_is_explained_and_no_file():
    text = (ROOT / "Makefile").read_text("utf-8")
    (phony,) = re.findall(r"^\.PHONY: (.+)", text, re.MULTILINE)
    assert sorted(phony.split()) == sorted(re.findall(r"^([a-z]+):.*## ", text, re.MULTILINE))


def test_the_workflow_calls_make_on_each_python():
    jobs = load(".github/workflows/tests.yml")["jobs"]
    called = {
        job["runs-on"]: [step["run"] for step in job["steps"] if "run" in step]
        for job in jobs.values()
    }
    assert called == {"ubuntu-latest": ["make test"], "macos-latest": ["make quick"]}
    assert {"test", "quick"} <= TARGETS
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    allowed = SpecifierSet(project["requires-python"])
    versions = [f"3.{minor}" for minor in range(30) if f"3.{minor}" in allowed]
    assert jobs["all"]["strategy"]["matrix"]["python"] == versions


def test_what_must_pass_before_a_change_lands_is_make_test():
    assert (ROOT / ".ci/run").read_text("utf-8").splitlines()[-1] == "make test"
    assert "check" in RULES["test"].split()


def test_the_hooks_call_what_make_check_calls():
    (repository,) = load(".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"
    hooks = [hook["entry"] for hook in repository["hooks"]]
    assert hooks == [f"make {target}" for target in RULES["check"].split()]


def back(toy: Toy) -> str:
    """What ``make back`` prints there."""
    (toy.folder / ".venv").mkdir()
    for name in ("requirements.lock", ".venv/installed"):
        (toy.folder / name).touch()
    command = ["make", "-f", ROOT / "Makefile", "back"]
    return subprocess.run(
        command, cwd=toy.folder, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def test_a_try_is_undone_and_nothing_else(toy: Toy):
    (toy.folder / "other.txt").write_text("other\n")
    toy.params(a="other.txt", b=2)
    toy.dvc("repro", "--quiet")
    (toy.folder / "side.txt").unlink()
    back(toy)
    changed = toy.git("ls-files", "--modified").splitlines()
    assert changed == ["score.json"]  # for Tagloom's own figures are in metrics/
    assert (toy.folder / "other.txt").is_file()
    assert (toy.folder / "a.txt").read_text() == (toy.folder / "side.txt").read_text() == "in\n"


def test_a_try_is_undone_where_others_have_made_what_was_committed(toy: Toy):
    shutil.rmtree(toy.folder / ".dvc" / "cache")
    (toy.folder / "other.txt").write_text("other\n")
    toy.params(a="other.txt")
    toy.dvc("repro", "--quiet")
    assert "make repro" in back(toy)
    assert toy.git("ls-files", "--modified") == ""
    assert not (toy.folder / "a.txt").exists()  # that of the try is not that of the commit


def test_files_that_are_run_first_or_left_out_exist():
    assert [name for name in [*LONGEST, *SLOW] if not (ROOT / "tests" / name).exists()] == []

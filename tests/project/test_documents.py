"""What the documents name is there."""

import re
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

from docs import rooms
from tests.conftest import ROOT
from tests.project.makefile import TARGETS

DOCUMENTS = [
    *sorted(ROOT.glob("*.md")),
    *(file for name in ("docs", "benchmarks", "presets", ".github")
      for file in sorted((ROOT / name).rglob("*.md"))),
]  # fmt: skip
PACKAGES = ("stages", "evaluation", "experiments", "flows", "tagloom", "benchmarks", "docs")


def name(file: Path) -> str:
    return str(file.relative_to(ROOT))


@pytest.mark.parametrize("file", DOCUMENTS, ids=name)
def test_links_lead_to_files(file: Path):
    links = re.findall(r'(?:\]\(|src=")([^)"#:]+)(?:#[^)"]*)?[)"]', file.read_text("utf-8"))
    assert [link for link in links if not (file.parent / link).exists()] == []


# The changelog names what is gone, too.
@pytest.mark.parametrize("file", [f for f in DOCUMENTS if f.stem != "CHANGELOG"], ids=name)
def test_modules_and_targets_that_are_run_exist(file: Path):
    text = file.read_text("utf-8")
    modules = {name.rstrip(".") for name in re.findall(r"python -m ([\w.]+)", text)}
    ours = {module for module in modules if module.split(".")[0] in PACKAGES}
    assert {module for module in ours - {"stages.NAME"} if not find_spec(module)} == set()
    assert set(re.findall(r"(?:^|`)make ([a-z]+)", text, re.MULTILINE)) <= TARGETS


def test_pages_are_made_of_all_documents(tmp_path: Path):
    """Sphinx knows the headings that links name, too; a warning fails it."""
    options = ("--quiet", "--fail-on-warning", "--conf-dir", ROOT / "docs")
    subprocess.run(["sphinx-build", *options, ROOT, tmp_path], check=True)
    pages = {file.relative_to(ROOT).with_suffix(".html") for file in DOCUMENTS}
    made = {file.relative_to(tmp_path) for file in tmp_path.rglob("*.html")}
    assert {page for page in pages - made if page.parts[0] != ".github"} == set()
    assert "docs/data.html" in (tmp_path / "README.html").read_text("utf-8")


def test_the_architecture_names_files_that_exist():
    """As they are called from the top or, as rooms are, from ``stages``."""
    named = re.findall(r"`(\w+/[\w/]+\.\w+)`", rooms.PAGE.read_text("utf-8"))
    code = [each for each in named if each.endswith(".py")]
    assert len(code) > 20
    assert [n for n in code if not any((ROOT / top / n).is_file() for top in ("", "stages"))] == []


def test_the_drawing_is_of_the_rooms_as_they_are():
    """Else: python -m docs.rooms."""
    assert rooms.page() == rooms.PAGE.read_text("utf-8")

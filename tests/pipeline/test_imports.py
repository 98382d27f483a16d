"""The import graph is the DVC graph: rooms import only what stands before them, and dvc.yaml
lists all that a stage imports."""

import ast
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from docs.rooms import ROOMS, files_of, imported, is_in
from tests.conftest import ROOT

STAGES = YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text("utf-8"))["stages"]

NO_STAGES = ("network", "explain")


def own_files(module: str) -> set[Path]:
    """The file of a module of ours; none for other names."""
    path = ROOT / module.replace(".", "/")
    candidates = {path.with_suffix(".py"), path / "__init__.py"}
    return {file for file in candidates if file.is_file()} if module.startswith("stages") else set()


def reached(room: Path) -> set[Path]:
    """The files of a stage's room and all of ours that they import, directly or not."""
    found, new = set(), set(room.rglob("*.py"))
    while new:
        found |= new
        new = {f for file in new for name in imported(file) for f in own_files(name)} - found
    return found


def is_room_marker(file: Path) -> bool:
    """A package's docstring, which decides nothing; the top one holds code."""
    return file.name == "__init__.py" and len(ast.parse(file.read_text("utf-8")).body) <= 1


@pytest.mark.parametrize("stage", STAGES)
def test_dvc_yaml_lists_what_a_stage_imports(stage: str):
    needed = {file for file in reached(ROOT / "stages" / stage) if not is_room_marker(file)}
    listed = [ROOT / dep for dep in STAGES[stage]["deps"] if dep.startswith("stages")]
    missing = {
        str(file.relative_to(ROOT))
        for file in needed
        if not any(file == dep or dep in file.parents for dep in listed)
    }
    assert missing == set()
    surplus = {
        str(dep.relative_to(ROOT))
        for dep in listed
        if not any(file == dep or dep in file.parents for file in needed)
    }
    assert surplus == set()


def upstream(stage: str) -> set[str]:
    made_by = {
        (out if isinstance(out, str) else next(iter(out))): name
        for name, definition in STAGES.items()
        for out in definition["outs"]
    }
    direct = {made_by[dep] for dep in STAGES[stage]["deps"] if dep in made_by}
    return direct.union(*(upstream(name) for name in direct))


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_imports_only_rooms_whose_data_it_can_have(stage: str):
    rooms = {
        file.relative_to(ROOT / "stages").parts[0]
        for file in reached(ROOT / "stages" / stage)
        if file.parent != ROOT / "stages"
    }
    assert rooms - {stage, *NO_STAGES} <= upstream(stage)


@pytest.mark.parametrize("place", range(len(ROOMS)), ids=ROOMS)
def test_a_room_imports_only_rooms_below(place: int):
    """So that there is no circle."""
    above = ROOMS[place + 1 :]
    for file in files_of(ROOMS[place]):
        names = imported(file)
        assert not {name for name in names for room in above if is_in(name, room)}, file
        outside = {name for name in names if name.split(".")[0] in ("dvc", "prefect")}
        allowed = {"experiments.dvc_project": "dvc", "flows": "prefect"}.get(ROOMS[place])
        assert {name.split(".")[0] for name in outside} <= {allowed}, file


def test_the_command_knows_no_source_and_no_report():
    for file in (ROOT / "tagloom").rglob("*.py"):
        names = imported(file)
        walls = ("stages.ingest.sources.", "stages.report.")
        assert not {name for name in names if f"{name}.".startswith(walls)}, file


def test_the_command_imports_experiments_only_where_it_calls_them():
    for file in (ROOT / "tagloom").rglob("*.py"):
        at_once = ast.parse(file.read_text("utf-8")).body
        names = [node.module for node in at_once if isinstance(node, ast.ImportFrom)]
        names += [alias.name for node in at_once if isinstance(node, ast.Import)
                  for alias in node.names]  # fmt: skip
        assert not [name for name in names if str(name).startswith("experiments")], file


def test_every_module_of_ours_is_in_a_room():
    ours = {f for top in ("stages", "evaluation", "experiments", "flows", "tagloom")
            for f in (ROOT / top).rglob("*.py")}  # fmt: skip
    assert ours - {file for room in ROOMS for file in files_of(room)} == set()

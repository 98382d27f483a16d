"""The option surface stands still: params.yaml, its typed models and dvc.yaml say the same."""

from importlib import import_module
from inspect import getmodule
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from ruamel.yaml import YAML

from experiments.params import MODELS
from stages.bundle import provenance
from stages.ingest.params import Ingest, source_names
from stages.params import SECTIONS
from stages.report import summary
from tests.conftest import ROOT
from tests.pipeline.conftest import Project

yaml = YAML(typ="safe", pure=True)
PARAMS = yaml.load((ROOT / "params.yaml").read_text("utf-8"))
STAGES = yaml.load((ROOT / "dvc.yaml").read_text("utf-8"))["stages"]


def leaves(section: dict[str, Any], prefix: str) -> list[str]:
    return [
        key
        for name, value in section.items()
        for key in (
            leaves(value, f"{prefix}.{name}") if isinstance(value, dict) else [f"{prefix}.{name}"]
        )
    ]


def fields(model: type[BaseModel], prefix: str) -> list[str]:
    found = []
    for name, field in model.model_fields.items():
        nested = isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        found += fields(field.annotation, f"{prefix}.{name}") if nested else [f"{prefix}.{name}"]
    return found


KEYS = [key for name, section in PARAMS.items() for key in leaves(section, name)]


def of_source(key: str) -> str | None:
    """The source whose option ``key`` is."""
    stage, name, *_ = key.split(".")
    return name if stage == "ingest" and name in source_names() else None


def test_params_yaml_holds_just_the_fields_of_the_models():
    expected = [key for name, model in MODELS.items() for key in fields(model, name)]
    for source in source_names():
        module = import_module(f"stages.ingest.sources.{source.replace('-', '_')}")
        expected += fields(module.Options, f"ingest.{source}")
    assert sorted(KEYS) == sorted(expected)


# The stages that show what others are set to, and of which others.
SHOWN = {
    "bundle": {*provenance.SECTIONS} - {"bundle"},
    "report": {*SECTIONS} - {*summary.NO_PART, "report"},
}
# Single keys of others that a stage reads.
READ = {"eda": {"vocab.segmentation"}}


def test_each_stage_lists_just_the_keys_of_its_section_and_what_it_reads_and_shows():
    for stage, definition in STAGES.items():
        listed = [key.replace("${ingest.source}", PARAMS["ingest"]["source"])
                  for key in definition["params"]]  # fmt: skip
        own = [key for key in KEYS if key.split(".")[0] == stage and not of_source(key)]
        shown = SHOWN.get(stage, set())
        if "ingest" in shown | {stage}:
            own += [key for key in KEYS if key.split(".")[0] == "ingest" and not of_source(key)]
            own.append(f"ingest.{PARAMS['ingest']['source']}")
        expected = {*own, *shown, *READ.get(stage, ())} - {"ingest"}
        assert sorted(listed) == sorted(expected), stage


def test_sections_are_stages_in_their_order():
    assert Ingest.model_fields.keys() <= PARAMS["ingest"].keys()
    assert list(PARAMS) == list(SECTIONS) == list(MODELS) == [*STAGES, "retrain"]


def stale(project: Project) -> set[str]:
    """The stages that DVC would run first, judged in process: a command takes a second to start."""
    from dvc.repo import Repo

    with Repo(str(project.root)) as repo:
        # Seen from another folder, a stage is named path/to/dvc.yaml:stage.
        return {stage.rpartition(":")[2] for stage in repo.status()}


def other(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int | float) else f"{value or ''}x"


def rounds() -> list[tuple[str, ...]]:
    """Every key once, in as few groups as hold no two of a section: DVC takes a while to look."""
    sections = [leaves(section, name) for name, section in PARAMS.items()]
    return [tuple(filter(None, keys)) for keys in zip_longest(*sections)]


@pytest.mark.parametrize("keys", rounds(), ids=" ".join)
def test_changed_keys_make_just_their_stages_stale(project: Project, keys: tuple[str, ...]):
    path = project.root / "params.yaml"
    before = path.read_text("utf-8")
    params = yaml.load(before)
    for key in keys:
        *sections, name = key.split(".")
        section = params
        for part in sections:
            section = section[part]
        section[name] = other(section[name])
        if key in ("ingest.source", "ingest.root"):  # dvc.yaml itself depends on these
            section[name] = {"source": "table", "root": "stages"}[name]
    try:
        with path.open("w", encoding="utf-8") as file:
            yaml.dump(params, file)
        found = stale(project)
    finally:
        path.write_text(before, "utf-8")
    sources = {None, PARAMS["ingest"]["source"]}
    sections = {key.partition(".")[0] for key in keys if of_source(key) in sources}
    shows = {stage for stage, shown in SHOWN.items() if shown & sections}
    reads = {stage for stage, read in READ.items() if read & {*keys}}
    assert found == (sections | shows | reads) - {"retrain"}


@pytest.mark.parametrize("name", MODELS)
def test_a_comment_among_a_room_s_options_makes_its_stage_stale_alone(project: Project, name: str):
    file = Path(getmodule(MODELS[name]).__file__).relative_to(ROOT)
    path = project.root / file
    before = path.read_text("utf-8")
    try:
        path.write_text(f"{before}# a word on why\n", "utf-8")
        assert stale(project) == {name} - {"retrain"}
    finally:
        path.write_text(before, "utf-8")


def test_nothing_is_stale_to_begin_with(project: Project):
    assert stale(project) == set()


def test_the_lock_satisfies_pyproject_and_names_no_address():
    import tomllib

    from packaging.markers import default_environment
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    lock = (ROOT / "requirements.lock").read_text("utf-8").splitlines()
    assert not [line for line in lock if "://" in line or line.startswith("-")]
    locked = {}
    for line in lock:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate(default_environment()):
            locked[canonicalize_name(requirement.name)] = requirement
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    for wanted in map(Requirement, chain(project["dependencies"], *extras)):
        (specifier,) = locked[canonicalize_name(wanted.name)].specifier
        assert specifier.operator == "=="
        assert wanted.specifier.contains(specifier.version), wanted

"""Every published system as a preset: sound, to the point, and it runs."""

import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from experiments.init import FEW, recipe
from experiments.params import check_effects, check_overrides, flatten, merge, overlay
from experiments.search import read_search
from experiments.template import template
from stages import UserError
from stages import params as parameters
from tests.conftest import ROOT, SMALL
from tests.network import tiny_bert

yaml = YAML(typ="safe", pure=True)
FOLDER = ROOT / "presets"
# By search, the preset that it begins with.
SEARCHES = {
    FOLDER / "sweeps" / "both.yaml": FOLDER / "best.yaml",
    FOLDER / "sweeps" / "photo.yaml": FOLDER / "photo.yaml",
    FOLDER / "sweeps" / "search.yaml": None,
}
SWEEPS = sorted(set((FOLDER / "sweeps").glob("*.yaml")) - set(SEARCHES))
PRESETS = sorted(set(FOLDER.rglob("*.yaml")) - {*SWEEPS, *SEARCHES})
OWN = parameters.load(ROOT / "params.yaml")
KEY = "train.backbone"


def name(file: Path) -> str:
    return str(file.relative_to(FOLDER).with_suffix(""))


def load(file: Path) -> dict[str, Any]:
    return yaml.load(file.read_text("utf-8"))


def nested(values: dict[str, Any]) -> dict[str, Any]:
    """``{"train.lr": 1}`` as a tree."""
    tree: dict[str, Any] = {}
    for key, value in values.items():
        for part in reversed(key.split(".")):
            value = {part: value}  # noqa: PLW2901
        tree = merge(tree, value)
    return tree


def points(sweep: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What each experiment of a sweep changes: its presets × its grid."""
    grid = sweep.get("grid", {})
    for preset in sweep.get("presets", [None]):
        for values in product(*grid.values()):
            changes = load(ROOT / preset) if preset else {}
            yield merge(changes, nested(dict(zip(grid, values, strict=True))))


@pytest.fixture(scope="session")
def projects() -> list[dict[str, Any]]:
    """What ``tagloom init`` makes of ``params.yaml``, but for few photos without captions."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("experiments.init.seconds_a_photo", lambda *_: 0.01)
        captioned, many = (FEW, True), (FEW + 1, False)
        recipes = [recipe(*each, template(), "w.pth") for each in (captioned, many)]
    return [overlay(OWN, nested(each.values)) for each in recipes]


@pytest.mark.parametrize("file", PRESETS, ids=name)
def test_a_preset_is_sound_and_says_why(file: Path, projects: list[dict[str, Any]]):
    changes = load(file)
    check_overrides(OWN, changes)
    values, everywhere = flatten(changes), [flatten(each) for each in (OWN, *projects)]
    assert not [k for k, v in values.items() if all(params[k] == v for params in everywhere)]
    assert not {"ingest.source", "ingest.root"} & values.keys()  # these are the user's
    first, *lines = file.read_text("utf-8").splitlines()
    assert first.startswith("# ")
    assert not [line for line in lines if not line.endswith(":") and "# " not in line]


@pytest.mark.parametrize("file", PRESETS, ids=name)
def test_a_preset_learns_in_a_project_as_it_does_here(file: Path, projects: list[dict[str, Any]]):
    here = flatten(overlay(OWN, load(file)))
    for project in projects:
        check_overrides(project, load(file))
        there = flatten(overlay(project, load(file)))
        others = [key for key in here if key.startswith("train.") and here[key] != there[key]]
        assert not [key for key in others if has_effect(key, here) and has_effect(key, there)]


def has_effect(key: str, values: dict[str, Any]) -> bool:
    """Whether the network would be another one without it; what is switched off counts, too."""
    try:
        check_effects(values, {key: values[key]})
    except UserError:
        return False
    return True


@pytest.mark.parametrize("file", SWEEPS, ids=name)
def test_a_sweep_is_presets_times_a_grid_and_every_point_is_sound(file: Path):
    assert file.read_text("utf-8").startswith("# ")
    sweep = load(file)
    assert sweep.keys() <= {"presets", "grid"}
    experiments = list(points(sweep))
    for changes in experiments:
        check_overrides(OWN, changes)
    distinct = {json.dumps(overlay(OWN, changes), sort_keys=True) for changes in experiments}
    assert len(distinct) == len(experiments) >= 2


@pytest.mark.parametrize("file", SEARCHES, ids=name)
def test_every_end_of_a_search_is_sound(file: Path):
    assert file.read_text("utf-8").startswith("# ")
    search, preset = read_search(ROOT, str(file)), SEARCHES[file]
    begins = overlay(OWN, load(preset)) if preset else OWN
    points = search.points()
    for changes in points:
        check_overrides(begins, nested(changes))
    assert all(any(key in point for point in points) for key in search.space)


def test_the_readme_names_every_preset_and_sweep():
    text = (FOLDER / "README.md").read_text("utf-8")
    for file in PRESETS:
        assert f"`{file.stem}`" in text, name(file)
    for file in (*SWEEPS, *SEARCHES):
        assert f"sweeps/{file.name}" in text, name(file)


@pytest.fixture(scope="session")
def transformer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bert.write(tmp_path_factory.mktemp("transformer"))


@pytest.fixture
def few(prepared: Path) -> Path:
    """The small sample, 8 of its photos to learn from and 8 to validate."""
    from stages.split import folds

    parts = folds.read()
    folds.write(parts.group_by("part", maintain_order=True).head(8))
    return prepared


# Each backbone, and the first preset that has it.
FIRST = {flatten(load(file)).get(KEY): file for file in reversed(PRESETS)}


def cut_down(file: Path, folder: Path, transformer: Path) -> dict[str, Any]:
    """What is changed on top of a preset for it to run in a second or two.

    A backbone runs once, in the first preset that has it; what the others have is a recipe.
    """
    text = flatten(load(file))
    small = SMALL | {"train.epochs": 1, "train.batch_size": 8, "train.max_mb": 100}
    values = {key: value for key, value in small.items() if key not in text}
    if FIRST[text.get(KEY)] != file:
        values[KEY] = small[KEY]
        values["train.pooling"] = "backbone"  # small_cnn has no other
    for key in ("ingest.image_size", "train.batch_size", "vocab.normalize"):
        values[key] = small.get(key, "none")
    values["train.weights"] = "none"
    if text.get("train.epochs"):
        values["train.epochs"] = 1
    if text.get("train.augment.crop") or "patch14" in text.get("train.backbone", ""):
        values["train.augment.crop"] = 28  # two patches of DINOv2
    if text.get("train.text.transformer"):
        values["train.text.transformer"] = str(transformer)
        values["train.text.frozen_layers"] = min(1, text.get("train.text.frozen_layers", 0))
    if text.get("train.text.embeddings"):
        size = text["train.text.embedding"]
        vectors = folder / "vectors.txt"
        vectors.write_text(f"one{' 0.1' * size}\ntwo{' 0.2' * size}\n", "utf-8")
        values["train.text.embeddings"] = str(vectors)
    return values


@pytest.mark.slow
@pytest.mark.parametrize("file", PRESETS, ids=name)
def test_a_preset_runs(few: Path, params: Any, transformer: Path, file: Path):
    from stages.threshold.__main__ import main as threshold
    from stages.train.__main__ import main as train

    params(flatten(load(file)) | cut_down(file, few, transformer))
    train()
    threshold()
    trained, decided = (
        json.loads(Path(f"metrics/{stage}.json").read_text("utf-8"))
        for stage in ("train", "threshold")
    )
    assert trained["epochs"] == (file.stem != "untrained")
    assert 0 < decided["found"]["micro_f1"]["value"] <= 1

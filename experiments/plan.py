"""What a sweep consists of: presets × a grid, as experiments with names and parameters.

A preset is a YAML file that holds, nested as in ``params.yaml``, what it changes there. A sweep
file has the keys ``presets``, a list of such files, and ``grid``, values by key (``train.lr``).
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML, YAMLError

from stages.params import flatten, unknown

Params = dict[str, Any]  # by whole key, train.lr
Grid = dict[str, list[Any]]

PARAMS = "params.yaml"
PATIENCE = "retrain.patience"  # minutes that a stage may say nothing; null or not there: for ever
SWEEP_KEYS = {"presets", "grid"}
PRESETS = "presets"  # the folder whose name is no part of an experiment's
LONGEST = 200  # a name is a file of Git's


class PlanError(Exception):
    """The sweep cannot be made; the text says what is wrong and where, a line each."""


@dataclass(frozen=True)
class Planned:
    """An experiment to be made: its name, and the parameters it changes."""

    name: str
    changes: Params


def plan(
    root: Path,
    files: Sequence[str] = (),
    grid: Sequence[str] = (),
    overrides: Sequence[str] = (),
    prefix: str = "",
) -> list[Planned]:
    """The experiments of a sweep over the project in ``root``, each once, in the order named.

    Args:
        files: presets and sweep files; relative ones are looked for below ``root``.
        grid: ``key=value,value``; every experiment is made with every point.
        overrides: ``key=value``, for all; they win over presets.
        prefix: begins every name.

    Raises:
        PlanError: a file or text is not of the kind it should be, or different experiments would
            have one name.
    """
    current = read(root)
    common = dict(map(assignment, overrides))
    everywhere: Grid = {}
    for text in grid:
        key, values = assignment(text, "[", "]")
        if key in everywhere:
            raise PlanError(f"The grid has {key} twice; write all its values in one")
        if not values:
            raise PlanError(f"{text!r} names no values")
        everywhere[key] = values
    planned: dict[str, Planned] = {}
    for presets, axes in _parts(root, files):
        if both := axes.keys() & everywhere.keys():
            raise PlanError(f"{_and(both)}: in a sweep file's grid, and in --grid; leave one out")
        for each in _experiments(presets, axes | everywhere, common, current, prefix):
            if planned.setdefault(each.name, each) != each:
                raise PlanError(
                    f"Two different experiments would be called {each.name}; rename a preset, or "
                    "make two sweeps, one with a prefix"
                )
    return list(planned.values())


def parse(text: str, name: str) -> dict[str, Any]:
    """The mapping that ``text``, the content of the file ``name``, holds; PlanError if none."""
    try:
        content = YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise PlanError(f"{name} is not YAML: {' '.join(str(error).split())}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise PlanError(f"{name} is to hold parameters by name, as {PARAMS} does")
    return content


def read(root: Path) -> Params:
    """The values of the project's ``params.yaml``; PlanError where it cannot be read."""
    return flatten(load(root / PARAMS))


def differences(actual: Params, wanted: Params) -> list[str]:
    """Which values are not as ``wanted`` among the ``actual`` ones, for people."""
    texts = []
    for key, value in wanted.items():
        if key not in actual:
            texts.append(f"{key} is new")
        elif _exact(actual[key]) != _exact(value):
            texts.append(f"{key} {actual[key]!r}, not {value!r}")
    return texts


def _parts(root: Path, files: Sequence[str]) -> Iterator[tuple[list[tuple[str, Params]], Grid]]:
    """For each file, the presets and the grid it stands for; plain presets are one part."""
    plain: list[tuple[str, Params]] = []
    for file in files:
        content = load(root / file)
        if not SWEEP_KEYS & content.keys():
            plain.append(_preset(root, file))
            continue
        if other := content.keys() - SWEEP_KEYS:
            raise PlanError(
                f"{file} has {_and(map(str, other))}; a sweep file has presets and grid only"
            )
        presets, grid = content.get("presets") or [], content.get("grid") or {}
        if not (isinstance(presets, list) and all(isinstance(each, str) for each in presets)):
            raise PlanError(f"{file}: presets is to be a list of preset files")
        if not isinstance(grid, dict):
            raise PlanError(f"{file}: grid is to hold a list of values for each key")
        for key, values in grid.items():
            if not (isinstance(values, list) and values):
                raise PlanError(f"{file}: grid is to hold a list of values for {key}")
        if not (presets or grid):
            raise PlanError(f"{file} names neither presets nor a grid")
        yield [_preset(root, each) for each in presets] or [("", {})], grid
    if plain or not files:
        yield plain or [("", {})], {}


def _preset(root: Path, file: str) -> tuple[str, Params]:
    path = (root / file).resolve()
    parts = [path.stem]
    if path.is_relative_to(root.resolve()):
        parts = list(path.relative_to(root.resolve()).with_suffix("").parts)
    if len(parts) > 1 and parts[0] == PRESETS:
        del parts[0]
    return "-".join(map(slug, parts)), flatten(load(path))


def _experiments(
    presets: list[tuple[str, Params]], grid: Grid, common: Params, current: Params, prefix: str
) -> Iterator[Planned]:
    if both := grid.keys() & common.keys():
        raise PlanError(f"{_and(both)}: in the grid, and set for all; leave one out")
    if not grid and presets == [("", {})]:
        raise PlanError("Nothing to sweep: name preset files or sweep files, or a grid")
    labels = {key: _label(key, current) for key in grid}
    for (name, changes), point in product(presets, product(*grid.values())):
        values = dict(zip(grid, point, strict=True))
        texts = [f"{labels[key]}={slug(value)}" for key, value in values.items()]
        whole = "-".join(filter(None, [prefix, name, *texts]))
        yield Planned(slug(whole), changes | common | values)


def complaint(planned: Planned, current: Params) -> str:
    """Why no project with the parameters ``current`` can make the experiment; empty if it can."""
    if len(planned.name) > LONGEST:
        return "the name is too long"
    for key, value in planned.changes.items():
        if key not in current:
            return unknown(key, current)
        if not _settable(value):
            return f"{key} cannot be set to {value!r}"
    return ""


def _settable(value: Any) -> bool:
    """Whether DVC leaves the value as it is; of ``${`` it makes the value of that name."""
    if isinstance(value, list):
        return all(map(_settable, value))
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, int) or (isinstance(value, str) and "${" not in value)


def split(text: str) -> tuple[str, str]:
    """The key and the value of ``KEY=VALUE``; PlanError where ``text`` is not that."""
    key, separator, value = text.partition("=")
    if not (separator and key.strip()):
        raise PlanError(f"{text!r} is not KEY=VALUE, as in train.lr=5e-4")
    return key.strip(), value


def assignment(text: str, before: str = "", after: str = "") -> tuple[str, Any]:
    """The key and the value of ``KEY=VALUE``, the value as YAML, as in ``params.yaml``.

    Args:
        before, after: what is put around the value before it is read, such as brackets.

    Raises:
        PlanError: it is not ``KEY=VALUE``, or the value is not YAML.
    """
    key, value = split(text)
    try:
        return key, YAML(typ="safe", pure=True).load(f"{before}{value}{after}")
    except YAMLError as error:
        raise PlanError(f"{text!r}: the value is not YAML; put quotes around it") from error


def load(path: Path) -> dict[str, Any]:
    """The mapping that a YAML file holds; PlanError where it cannot be read, or holds none."""
    try:
        return parse(path.read_text("utf-8"), str(path))
    except OSError as error:
        raise PlanError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise PlanError(f"{path} is not YAML: {error}") from error


def _label(key: str, current: Params) -> str:
    """The last parts of a key, as many as it takes to know it from all others."""
    parts = key.split(".")
    for count in range(1, len(parts)):
        label = ".".join(parts[-count:])
        if sum(f".{other}".endswith(f".{label}") for other in current) <= 1:
            return label
    return key


def slug(value: Any) -> str:
    """A value as part of an experiment's name, which Git and a shell have to bear."""
    if isinstance(value, list):
        text = ",".join(map(slug, value))
    elif value is None or isinstance(value, bool):
        text = str(value).lower() if value is not None else "null"
    elif isinstance(value, float):
        text = re.sub(r"e([+-])0*", lambda m: f"e{m[1].strip('+')}", repr(value))
    else:
        text = str(value)
    text = re.sub(r"[^\w+,.=-]+|\.\.+", "-", text, flags=re.ASCII).strip("-.")
    return re.sub(r"\.lock$", "-lock", text) or "empty"


def _exact(value: Any) -> tuple[str, str]:
    """Equal for equal values of the same type: 1 is neither 1.0 nor true."""
    return type(value).__name__, repr(value)


def _and(keys: Any) -> str:
    return ", ".join(sorted(keys))

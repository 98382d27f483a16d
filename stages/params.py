"""``params.yaml`` as typed models: one section a stage, an unknown key is an error.

The values, and a word on each, stand in ``params.yaml``; there are no defaults in the models, so
that a value has one home. Names, types and bounds stand in the ``params.py`` of each room; here is
how they are read. No option stands here: every stage depends on this module.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML, YAMLError

from stages import UserError

PARAMS = Path("params.yaml")
# Each belongs to the stage of its name, ``retrain`` to evaluation/judge.
SECTIONS = (
    *("ingest", "eda", "split", "vocab", "train", "threshold", "bundle", "predict", "report"),
    "retrain",
)

Fraction = Annotated[float, Field(ge=0, le=1)]
OpenFraction = Annotated[float, Field(gt=0, lt=1)]
PositiveFraction = Annotated[float, Field(gt=0, le=1)]
PositiveNumber = Annotated[float, Field(gt=0)]
Exponent = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Length = Annotated[int, Field(ge=1, le=10_000)]  # of a caption, in words or tokens
Width = Annotated[int, Field(ge=1, le=2**16)]  # of a layer
Seed = Annotated[int, Field(ge=0, lt=2**31)]


class Section(BaseModel):
    """A section of ``params.yaml``: immutable, unknown keys are rejected."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Model = TypeVar("Model", bound=BaseModel)


def read(model: type[Model], path: Path = PARAMS) -> Model:
    """Reads the section of ``path`` that is named like ``model``: ``train`` for ``Train``.

    Raises:
        UserError: the file cannot be read, the section is missing, or a key is unknown, missing
            or out of bounds.
    """
    name = model.__name__.lower()
    content = load(path)
    if name not in content:
        raise UserError(f"{path}: the section {name} is missing")
    return check(model, content[name], name, path)


def load(path: Path = PARAMS) -> dict[str, Any]:
    """The content of ``path``, not checked but for the names of its sections.

    Raises:
        UserError: the file is not YAML, or holds a section that belongs to no stage.
    """
    # YAML 1.2, as DVC reads it: in YAML 1.1, 5e-4 is a string.
    try:
        content = YAML(typ="safe", pure=True).load(path.read_text("utf-8"))
    except (YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} must hold one section a stage: {', '.join(SECTIONS)}")
    for key in content:
        if key not in SECTIONS:
            raise UserError(f"{path}: {unknown(key, SECTIONS)}")
    return content


def check(model: type[Model], values: Any, prefix: str, path: Path = PARAMS) -> Model:
    """Builds ``model`` from ``values``, the content of ``path`` at the key ``prefix``.

    Raises:
        UserError: names the first wrong key, and for an unknown one the nearest known.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        # A misspelt key is both missing and unknown; unknown says more.
        first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
        key = ".".join([prefix, *map(str, first["loc"])])
        if first["type"] == "extra_forbidden":
            owner = _model_at(model, first["loc"][:-1])
            parent = key.rpartition(".")[0]
            message = unknown(key, [f"{parent}.{field}" for field in owner.model_fields])
        elif first["type"] == "missing":
            message = f"{key} is missing"
        elif first["type"] == "value_error":
            message = str(first["ctx"]["error"])
        else:
            wish = re.sub(r"^\w+ (?=should )", "", first["msg"])
            message = f"{key} {wish}, but is {first['input']!r}"
        raise UserError(f"{path}: {message}") from error


def _model_at(model: type[BaseModel], location: tuple[Any, ...]) -> type[BaseModel]:
    for name in location:
        section = model.model_fields[name].annotation
        assert isinstance(section, type) and issubclass(section, BaseModel)
        model = section
    return model


def unknown(key: str, known: Iterable[str]) -> str:
    """A sentence that ``key`` is none of ``known``, with the nearest of them."""
    nearest = difflib.get_close_matches(key, list(known), n=1, cutoff=0.5)
    hint = f"; did you mean {nearest[0]}?" if nearest else ""
    return f"{key} is not a parameter{hint}"


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of a tree of sections by their whole keys, ``train.loss.gamma``."""
    values: dict[str, Any] = {}
    for name, value in tree.items():
        key = f"{prefix}{name}"
        values |= flatten(value, f"{key}.") if isinstance(value, dict) else {key: value}
    return values

"""``models/bundle/``: one folder that is all a program needs, and what reads it back.

======================  ========================================================================
``bundle.json``         what the network is, its decision, its metrics, where it comes from, and
                        the SHA-256 of every other file
``network.safetensors`` its weights
``network.onnx``        the same as a graph for other runtimes, if ``bundle.onnx``
``transformer/``        a caption transformer's configuration and tokenizer, where it has one
``README.md``           the model card
======================  ========================================================================

Reading executes nothing. No module here needs torch.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from stages import UserError
from stages.files import write_json
from stages.ingest.form import Form
from stages.network.description import WEIGHTS, Description
from stages.threshold.decision import Decision

BUNDLE = Path("models/bundle")
MANIFEST, CARD, ONNX = "bundle.json", "README.md", "network.onnx"
FORMAT = 3  # goes up when a program that reads this one could not read the next

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Content(BaseModel):
    """What ``bundle.json`` says.

    Attributes:
        format: ``FORMAT`` of the program that wrote it.
        description: of the network.
        decision: as in ``models/decision.json``.
        metrics: of the validation photos, with intervals; and what the checks of the weights'
            precision, of captions left out and of ONNX came to.
        provenance: what it was made from, with what and where.
        files: the SHA-256 of each other file, by its path in the folder.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    format: int
    description: Description
    decision: Decision
    metrics: dict[str, Any]
    provenance: dict[str, Any]
    files: dict[str, Sha256]


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files are what they were when it was made.

    Attributes:
        folder: where it is.
        content: what ``bundle.json`` says.
        sha256: of ``bundle.json``, which names the hashes of all else: it stands for the whole.
    """

    folder: Path
    content: Content
    sha256: str

    @property
    def description(self) -> Description:
        return self.content.description

    @property
    def labels(self) -> list[str]:
        return self.description.labels

    @property
    def inputs(self) -> str:
        """``image``, ``caption`` or ``image+caption``."""
        return self.description.inputs

    @property
    def stored_size(self) -> int:
        """Height and width of the photos that it wants, in pixels."""
        return self.description.stored_size

    @property
    def form(self) -> Form:
        """What photos have to be brought to for it."""
        return self.description.form

    @property
    def thresholds(self) -> np.ndarray:
        """Of calibrated probabilities: float64 (labels,)."""
        return np.asarray(self.content.decision.thresholds, np.float64)

    @property
    def temperature(self) -> float:
        """What logits are divided by for calibrated probabilities."""
        return self.content.decision.temperature

    @property
    def metrics(self) -> dict[str, Any]:
        return self.content.metrics

    @property
    def provenance(self) -> dict[str, Any]:
        return self.content.provenance

    @property
    def has_onnx(self) -> bool:
        return ONNX in self.content.files


def seal(folder: Path, content: dict[str, Any]) -> None:
    """Writes ``bundle.json`` beside the finished other files of a bundle.

    Args:
        content: all that ``Content`` has but ``format`` and ``files``, as plain data.
    """
    files = {name: _sha256(folder / name) for name in _names(folder) if name != MANIFEST}
    write_json(folder / MANIFEST, {"format": FORMAT, **content, "files": files})


def read_bundle(folder: Path = BUNDLE) -> Bundle:
    """The bundle in ``folder``, every file of it checked.

    Raises:
        UserError: there is none, a newer program made it, or a file is not what it was; says
            which.
    """
    file = folder / MANIFEST
    if not file.is_file():
        raise UserError(
            f"{folder} is no bundle: there is no {MANIFEST} in it; the stage bundle makes one: "
            "dvc repro bundle"
        )
    raw = file.read_bytes()
    content = _parse(raw, file)
    _check_files(folder, content.files)
    return Bundle(folder, content, hashlib.sha256(raw).hexdigest())


def _parse(raw: bytes, file: Path) -> Content:
    try:
        plain = from_json(raw, allow_inf_nan=False)
    except ValueError as error:
        raise UserError(f"{file} is not JSON: {error}; get the bundle anew") from error
    version = plain.get("format") if isinstance(plain, dict) else None
    if isinstance(version, int) and version > FORMAT:
        raise UserError(
            f"{file} has format {version}, but this Tagloom knows {FORMAT} at most; install a "
            "newer one"
        )
    try:
        content = Content.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(
            f"{file} is not of a bundle: {where}: {first['msg']}; get the bundle anew"
        ) from error
    labels, decision = content.description.labels, content.decision
    fits = decision.labels == labels and len(decision.thresholds) == len(labels)
    if not (fits and decision.temperature > 0):
        raise UserError(f"{file}: the decision is not one over the labels; get the bundle anew")
    if WEIGHTS not in content.files:
        raise UserError(f"{file} names no {WEIGHTS}; get the bundle anew")
    return content


def _check_files(folder: Path, files: dict[str, str]) -> None:
    for name in files:
        parts = name.split("/")
        if "\\" in name or ":" in name or any(part in ("", ".", "..") for part in parts):
            raise UserError(f"{folder / MANIFEST} names a file outside of the bundle: {name!r}")
    for name, sha256 in files.items():
        if not (folder / name).is_file():
            raise UserError(f"{folder / name} is missing; get the bundle anew")
        if _sha256(folder / name) != sha256:
            raise UserError(
                f"{folder / name} is not what it was when the bundle was made; get the bundle anew"
            )
    for name in sorted(set(_names(folder)) - files.keys() - {MANIFEST}):
        raise UserError(f"{folder / name} does not belong to the bundle; take it away")


def _names(folder: Path) -> list[str]:
    """The files in ``folder`` and below, by their paths in it, with slashes."""
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()
    )


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

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
from typing import Any

import numpy as np

from stages import UserError
from stages.bundle.content import FORMAT, Content, Metrics, Provenance, parse
from stages.files import write_json
from stages.ingest.form import Form
from stages.network.description import Description

BUNDLE = Path("models/bundle")
MANIFEST, CARD, ONNX = "bundle.json", "README.md", "network.onnx"
LARGEST = 2**27  # bytes of the manifest, whose vocabulary is the most


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
    def metrics(self) -> Metrics | None:
        return self.content.metrics

    @property
    def provenance(self) -> Provenance | None:
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
    if file.stat().st_size > LARGEST:
        raise UserError(f"{file} has more than {LARGEST:,} bytes; get the bundle anew")
    raw = file.read_bytes()
    content = parse(raw, file)
    _check_files(folder, content.files)
    return Bundle(folder, content, hashlib.sha256(raw).hexdigest())


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

"""What a bundle was made from, with what and where: enough to make it again."""

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import polars as pl

from stages.files import digest
from stages.git import git
from stages.ingest.records import RECORDS
from stages.params import load
from stages.split import folds

# Of the stages that this one comes after, as DVC has them run for it.
SECTIONS = ("ingest", "split", "vocab", "train", "threshold", "bundle")
PACKAGES = (
    "numpy onnx onnxruntime onnxscript pillow pillow-heif polars safetensors scikit-learn "
    "timm tokenizers torch torchvision transformers".split()
)
# What the pipeline itself writes while it runs.
WRITTEN = (":!dvc.lock", ":!metrics")


def provenance(records: pl.DataFrame, trained: dict[str, Any]) -> dict[str, Any]:
    """As ``bundle.json`` keeps it.

    Args:
        trained: ``metrics/train.json``.
    """
    commit = git("rev-parse", "HEAD")
    changes = git("status", "--porcelain", "--untracked-files=no", "--", ".", *WRITTEN)
    # A file of corrections counts before anybody has told Git of it.
    added = git("status", "--porcelain", "--", load()["ingest"]["corrections"])
    return {
        "commit": commit,  # None: made without Git
        "changed_since_commit": None if commit is None else bool(changes or added),
        "parameters": parameters(load()),
        "packages": {"python": platform.python_version()} | _versions(),
        "hardware": trained["hardware"],
        "training_seconds": trained["seconds"],
        "data": data(records),
    }


def parameters(content: dict[str, Any]) -> dict[str, Any]:
    """The sections of ``params.yaml`` that the bundle hangs on; of sources, just the one in use."""
    sections = {name: content[name] for name in SECTIONS}
    sections["ingest"] = {
        key: value
        for key, value in content["ingest"].items()
        if not isinstance(value, dict) or key == content["ingest"]["source"]
    }
    return sections


def data(records: pl.DataFrame) -> dict[str, Any]:
    """How many photos there are for what, and what stands for all of them."""
    parts = folds.read()
    training, validation = (folds.rows_of(records, parts, p) for p in ("train", "validation"))
    return {
        "photos": len(records),
        "training": len(training),
        "validation": len(validation),
        "captions": int(training["caption"].is_not_null().sum()),  # of those for training
        "records_sha256": digest(RECORDS),
    }


def _versions() -> dict[str, str]:
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:  # an extra that this network does without
            continue
    return versions

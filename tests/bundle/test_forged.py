"""Bundles whose hashes agree, for whoever forges one also makes its hashes."""

import copy
import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from stages import UserError
from stages.bundle.bundle import MANIFEST, read_bundle, seal
from stages.bundle.content import parse
from stages.bundle.model import load_model
from tagloom.__main__ import app

UNMEASURED = {"metrics": None, "provenance": None}
HUGE, LONG = 10**12, "9" * 5000
FORGED = [
    ("format", 0), ("format", -1), ("format", True), ("format", int("9" * 4000)),
    ("description.labels", []), ("description.labels", ["0"] * 10), ("description.labels", [""]),
    ("description.labels", "abcdefghij"), ("description.labels", [*"012345678", None]),
    ("description.inputs", "images"), ("description.inputs", ""), ("description.inputs", None),
    ("description.backbone", 7),
    ("description.stored_size", 60_000), ("description.stored_size", 0),
    ("description.stored_size", -32), ("description.stored_size", 32.5),
    ("description.crop", 33), ("description.crop", 0), ("description.crop", -8),
    ("description.depth", [5, 5]), ("description.depth", [9, 1]), ("description.depth", [0]),
    ("description.depth", ["0", "1"]), ("description.fit", "pads"),
    ("description.feature_norm", "group"), ("description.fusion", "sum"),
    ("description.dropout", 1.0), ("description.dropout", -0.1), ("description.flip", 1),
    ("description.precision", "int8"),
    ("description.mean", []), ("description.mean", [0.5]), ("description.mean", [0.5, 0.5, 1e300]),
    ("description.std", [0, 1, 1]), ("description.std", [-1, 1, 1]),
    ("description.std", [1e-300, 1, 1]),
    ("description.native_size", 0), ("description.native_size", HUGE),
    ("description.architecture", []), ("description.architecture", {"name": "vit"}),
    ("description.architecture", {"name": "test_vit", "options": {"checkpoint_path": "x"}}),
    ("description.architecture", {"name": "test_vit", "options": {"a": [{"b": -HUGE}]}}),
    ("description.text", {}), ("description.text", None), ("description.text.encoder", "rnn"),
    ("description.text.embedding", 0), ("description.text.embedding", HUGE),
    ("description.text.hidden", HUGE), ("description.text.hidden", "9"),
    ("description.text.max_tokens", HUGE), ("description.text.frozen_layers", -1),
    ("description.text.dropout", 2), ("description.text.caption_dropout", -1),
    ("description.text.more", 1), ("description.vocabulary", {}),
    ("description.vocabulary.words", ["a", "a"]), ("description.vocabulary.words", [1]),
    ("description.vocabulary.normalize", "os.system"),
    ("description.vocabulary.drop_stop_words", "no"),
    ("description.vocabulary.max_length", HUGE), ("description.vocabulary.max_length", 0),
    ("decision.labels", []), ("decision.labels", [*"987654321", "0"]),
    ("decision.thresholds", []), ("decision.thresholds", [0.5] * 9),
    ("decision.thresholds", [-5] * 10), ("decision.thresholds", [1.1] * 10),
    ("decision.thresholds", ["0.5"] * 10), ("decision.scope", "photo"),
    ("decision.metric", "accuracy"), ("decision.shrinkage", -1),
    ("decision.temperature", 0), ("decision.temperature", -1), ("decision.temperature", 1e-300),
    ("decision.temperature", 1e300),
    ("metrics", {}), ("metrics", []), ("metrics.weights", None),
    ("metrics.weights.precision", "int8"), ("metrics.weights.after.micro_f1", 7),
    ("metrics.without_captions", {}), ("metrics.without_captions.micro_f1", "1"),
    ("metrics.onnx.rows", -1), ("metrics.onnx.rows", int("9" * 4000)),
    ("metrics.validation", {}), ("metrics.validation.photos", -1),
    ("metrics.validation.photos", int("9" * 4000)),
    ("metrics.validation.overall.micro_f1", 0.5),
    ("metrics.validation.overall.micro_f1.low", "0"),
    ("metrics.validation.labels", {}), ("metrics.validation.labels.0", {}),
    ("metrics.validation.labels.more", None), ("metrics.validation.labels.3.f1", 2),
    ("metrics.validation.labels.3.count", 2.5), ("metrics.calibration", None),
    ("metrics.calibration.after.log_loss", 1e300),
    ("provenance", {}), ("provenance.commit", "main"), ("provenance.commit", "\x1b[2J"),
    ("provenance.changed_since_commit", "no"), ("provenance.packages", {"numpy": 2}),
    ("provenance.packages", ["numpy"]), ("provenance.hardware", None),
    ("provenance.training_seconds", -1), ("provenance.training_seconds", 1e300),
    ("provenance.data.training", "many"), ("provenance.data.records_sha256", "0"),
    ("provenance.data", {}), ("provenance.parameters", None),
    ("files", {}), ("files", []), ("files.README.md", LONG),
]  # fmt: skip


@pytest.fixture(scope="module")
def manifest(bundle: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((bundle / MANIFEST).read_text("utf-8"))
    return content


def changed(content: dict[str, Any], field: str, value: Any) -> dict[str, Any]:
    """``content`` with another value at ``field``, whose names are parted by points."""
    changed = copy.deepcopy(content)
    *above, last = field.replace("README.md", "README/md").split(".")
    place = changed
    for name in above:
        place = place[name]
    place[last.replace("/", ".")] = value
    return changed


@pytest.mark.parametrize(("field", "value"), FORGED)
def test_a_forged_field_is_named(manifest: dict[str, Any], field: str, value: Any):
    raw = json.dumps(changed(manifest, field, value)).encode()
    with pytest.raises(UserError) as error:
        parse(raw, Path("there/bundle.json"))
    sentence = str(error.value)
    assert sentence.startswith("there/bundle.json is not of a bundle: ")
    assert field in sentence
    assert len(sentence) < 400


def test_a_figure_is_missing_only_where_no_photo_carries_the_label(manifest: dict[str, Any]):
    label = "metrics.validation.labels.3"
    without = changed(manifest, f"{label}.f1", None)
    with pytest.raises(UserError, match=r"labels\.3: f1 is null, though \d+ photos carry"):
        parse(json.dumps(without).encode(), Path("bundle.json"))
    nowhere = changed(without, f"{label}.count", 0)
    read = parse(json.dumps(nowhere).encode(), Path("bundle.json"))
    assert read.metrics.validation.labels["3"].f1 is None


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize("field", ["dropout", "temperature", "f1", "training_seconds", "log_loss"])
def test_no_number_is_beyond_numbers(manifest: dict[str, Any], field: str, number: str):
    raw = json.dumps(manifest)
    start = raw.index(f'"{field}": ') + len(field) + 4
    end = min(raw.index(mark, start) for mark in ",}")
    with pytest.raises(UserError, match=r"bundle\.json is not"):
        parse(f"{raw[:start]}{number}{raw[end:]}".encode(), Path("bundle.json"))


def test_what_the_fields_may_be_they_are(manifest: dict[str, Any]):
    for field, value in [
        ("description.depth", "photo"), ("description.crop", 32), ("description.stored_size", 4096),
        ("decision.thresholds", [0, 1, 1.0000000000000002, *[0.5] * 7]), ("metrics", None),
        ("metrics.without_captions", None), ("metrics.onnx", None), ("provenance.commit", None),
    ]:  # fmt: skip
        parse(json.dumps(changed(manifest, field, value)).encode(), Path("bundle.json"))


VIT = "timm/local-dir:nowhere"


@pytest.mark.parametrize(
    "changes",
    [
        {"stored_size": 4096, "backbone": "plain_cnn"},
        {"stored_size": 4088, "backbone": "vit_h_14"},
        {"backbone": "timm/vit_giant_patch14_224"},
        {"backbone": VIT, "architecture": {"name": "test_vit", "options": {"depth": 50_000}}},
        {"backbone": VIT, "architecture": {"name": "test_vit", "options": {"embed_dim": 60_000}}},
        {"backbone": VIT, "architecture": {"name": "test_vit", "options": {"depth": "os.system"}}},
        {"backbone": VIT, "architecture": {"name": "test_vit", "options": {"more": [None]}}},
        {"backbone": VIT, "architecture": {"name": "hf-hub:a/b", "options": {}}},
        {"text.hidden": 2**16, "text.embedding": 2**16},
        {"text.hidden": 2**16},
    ],
    ids=str,
)
def test_what_no_memory_holds_is_not_built(
    bundle: Path, manifest: dict[str, Any], tmp_path: Path, changes: dict[str, Any]
):
    folder = shutil.copytree(bundle, tmp_path / "bundle")
    content = {key: manifest[key] for key in manifest.keys() - {"format", "files"}}
    for field, value in changes.items():
        content = changed(content, f"description.{field}", value)
    seal(folder, content)
    started = time.process_time()
    with pytest.raises(UserError):
        load_model(folder)
    assert time.process_time() - started < 20


def test_what_was_not_measured_is_told(bundle: Path, manifest: dict[str, Any], tmp_path: Path):
    folder = shutil.copytree(bundle, tmp_path / "bundle")
    seal(folder, {key: manifest[key] for key in ("description", "decision")} | UNMEASURED)
    assert read_bundle(folder).metrics is None
    answer = CliRunner().invoke(app, ["info", "--bundle", str(folder)])
    assert answer.exit_code == 1
    assert "does not say how good it is" in answer.stderr


def test_a_manifest_of_any_length_is_not_read(tmp_path: Path):
    with (tmp_path / MANIFEST).open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(UserError, match=r"bundle\.json has more than"):
        read_bundle(tmp_path)

"""Reading a bundle back: just what was written, and nothing else."""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages import UserError
from stages.bundle import bundle as bundles
from stages.bundle import model as models
from stages.network import description as descriptions
from stages.network.description import MEAN, STD
from stages.threshold import decision as decisions


@pytest.fixture
def copied(bundle: Path, tmp_path: Path) -> Path:
    return shutil.copytree(bundle, tmp_path / "bundle")


def rewrite(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Changes ``bundle.json``, which no hash protects."""
    file = folder / bundles.MANIFEST
    content = json.loads(file.read_text("utf-8"))
    change(content)
    file.write_text(json.dumps(content), "utf-8")


def test_it_holds_all_that_a_program_needs(bundle: Path):
    models_folder = bundle.parent
    read = bundles.read(bundle)
    assert sorted(file.name for file in bundle.iterdir()) == [
        "README.md", "bundle.json", "network.onnx", "network.safetensors",
    ]  # fmt: skip
    network = descriptions.read(models_folder / "network")
    assert asdict(read.description) == asdict(replace(network, mean=MEAN, std=STD))
    decision = decisions.read(models_folder / "decision.json")
    assert read.content.decision == decision
    assert read.labels == decision.labels
    assert read.thresholds.dtype == np.float64
    assert (read.inputs, read.stored_size) == ("image+caption", 32)
    assert len(read.sha256) == 64


def test_a_changed_byte_of_any_file_is_noticed(copied: Path):
    names = [file.name for file in copied.iterdir() if file.name != bundles.MANIFEST]
    for name in names:
        file = copied / name
        content = file.read_bytes()
        file.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
        with pytest.raises(UserError, match=rf"{name} is not what it was"):
            bundles.read(copied)
        file.unlink()
        with pytest.raises(UserError, match=rf"{name} is missing"):
            bundles.read(copied)
        file.write_bytes(content)
    assert bundles.read(copied).labels


def test_a_file_too_many_is_noticed(copied: Path):
    (copied / "below").mkdir()
    (copied / "below" / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"below/config.json does not belong to the bundle"):
        bundles.read(copied)


@pytest.mark.parametrize(
    "name", ["../decision.json", "/etc/hostname", "a/../../x", "a//b", ".", "C:\\x", "a\\..\\b"]
)
def test_files_outside_of_the_folder_are_not_looked_at(copied: Path, name: str):
    rewrite(copied, lambda content: content["files"].update({name: "0" * 64}))
    with pytest.raises(UserError, match="names a file outside of the bundle"):
        bundles.read(copied)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.update(format=bundles.FORMAT + 1), "install a newer one"),
        (lambda c: c.update(format="1"), "format: Input should be a valid integer"),
        (lambda c: c.update(surprise=1), "surprise: Extra inputs are not permitted"),
        (lambda c: c.pop("decision"), "decision: Field required"),
        (lambda c: c["description"].update(surprise=1), "description.surprise: Unexpected"),
        (lambda c: c["description"].update(stored_size="32"), "description.stored_size"),
        (lambda c: c["decision"]["thresholds"].pop(), "not one over the labels"),
        (lambda c: c["decision"]["labels"].reverse(), "not one over the labels"),
        (lambda c: c["decision"].update(temperature=0.0), "not one over the labels"),
        (lambda c: c["files"].update({"README.md": "0"}), r"files.README.md: String should match"),
    ],
)
def test_a_manifest_that_says_something_else_is_refused(copied: Path, change, said: str):
    rewrite(copied, change)
    with pytest.raises(UserError, match=said):
        bundles.read(copied)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"format": NaN}', b"\xff", b"[" * 9999])
def test_a_manifest_that_is_none_is_refused(copied: Path, content: bytes):
    (copied / bundles.MANIFEST).write_bytes(content)
    with pytest.raises(UserError, match=r"bundle\.json is not"):
        bundles.read(copied)


def test_a_folder_without_a_bundle_says_how_to_make_one(tmp_path: Path):
    with pytest.raises(UserError, match=r"is no bundle.*dvc repro bundle"):
        bundles.read(tmp_path)


def test_files_that_are_links_are_read(bundle: Path, tmp_path: Path):
    for number, file in enumerate(bundle.iterdir()):
        kept = tmp_path / "cache" / str(number) / "content"  # as DVC keeps them
        kept.parent.mkdir(parents=True)
        shutil.copyfile(file, kept)
        (tmp_path / "linked").mkdir(exist_ok=True)
        (tmp_path / "linked" / file.name).symlink_to(kept)
    photos = np.zeros((1, 32, 32, 3), np.uint8)
    for runtime in ("torch", "onnx"):
        assert models.load(tmp_path / "linked", runtime).probabilities(photos, None).shape == (
            1,
            10,
        )


def resealed(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Changes ``bundle.json``, and makes the hashes anew, as anybody can."""
    content = json.loads((folder / bundles.MANIFEST).read_text("utf-8"))
    del content["format"], content["files"]
    change(content)
    bundles.seal(folder, content)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c["description"]["text"].update(hidden=9), "is not of the network described"),
        (lambda c: c["description"]["text"].update(hidden="9"), "describes no network"),
        (lambda c: c["description"].update(text={}), "describes no network"),
        (lambda c: c["description"].update(vocabulary={"word": []}), "describes no network"),
        (lambda c: c["description"].update(backbone="os.system"), "neither small_cnn"),
    ],
)
def test_a_network_that_does_not_fit_is_refused(copied: Path, change, said: str):
    resealed(copied, change)
    with pytest.raises(UserError, match=said):
        models.load(copied)


def test_weights_that_are_none_are_refused(copied: Path):
    (copied / "network.safetensors").write_bytes(b"\x80\x04K\x01.")  # a pickle
    resealed(copied, lambda content: None)
    for runtime in ("torch", "onnx"):
        with pytest.raises(UserError, match=r"is not of the network|cannot be loaded"):
            models.load(copied, runtime)
    (copied / "network.safetensors").unlink()
    resealed(copied, lambda content: None)
    with pytest.raises(UserError, match=r"names no network\.safetensors"):
        models.load(copied)


def test_a_graph_reads_no_other_file(copied: Path, monkeypatch: pytest.MonkeyPatch):
    """Whoever makes a bundle also makes its hashes: what a graph points at is not to be trusted."""
    graph = copied / bundles.ONNX
    graph.write_bytes(graph.read_bytes().replace(b"network.safetensors", b"network_safetensors"))
    monkeypatch.chdir(copied.parent)
    shutil.copyfile(copied / "network.safetensors", "network_safetensors")
    resealed(copied, lambda content: None)
    with pytest.raises(UserError, match=r"network\.onnx cannot be loaded"):
        models.load(copied, "onnx")

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
from stages.bundle.bundle import MANIFEST, ONNX, read_bundle, seal
from stages.bundle.content import FORMAT
from stages.bundle.model import load_model
from stages.ingest.form import Form
from stages.network.description import MEAN, STD, read_description
from stages.threshold.decision import read_decision


@pytest.fixture
def copied(bundle: Path, tmp_path: Path) -> Path:
    return shutil.copytree(bundle, tmp_path / "bundle")


def rewrite(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Changes ``bundle.json``, which no hash protects."""
    file = folder / MANIFEST
    content = json.loads(file.read_text("utf-8"))
    change(content)
    file.write_text(json.dumps(content), "utf-8")


def test_it_holds_all_that_a_program_needs(bundle: Path):
    models_folder = bundle.parent
    read = read_bundle(bundle)
    assert sorted(file.name for file in bundle.iterdir()) == [
        "README.md", "bundle.json", "network.onnx", "network.safetensors",
    ]  # fmt: skip
    network = read_description(models_folder / "network")
    assert asdict(read.description) == asdict(replace(network, mean=MEAN, std=STD))
    decision = read_decision(models_folder / "decision.json")
    assert read.content.decision == decision
    assert read.labels == decision.labels
    assert read.thresholds.dtype == np.float64
    assert (read.inputs, read.stored_size) == ("image+caption", 32)
    assert len(read.sha256) == 64


def test_how_photos_became_square_is_told(copied: Path):
    assert read_bundle(copied).form == (32, "type", "stretch")
    rewrite(copied, lambda content: content["description"].update(fit="pad"))
    assert read_bundle(copied).form == (32, "type", "pad")
    assert read_bundle(copied).description.seen(40, 20) == (1, 2)
    # Bundles of format 2 do not say it: they were always stretched.
    rewrite(copied, lambda c: (c.update(format=2), c["description"].pop("fit")))
    assert read_bundle(copied).form == (32, "type", "stretch")


def test_how_deep_pixels_were_scaled_is_told(copied: Path):
    for depth, form in (("photo", Form(32, "photo")), ([0, 4095.5], Form(32, (0, 4095.5)))):
        rewrite(copied, lambda content, depth=depth: content["description"].update(depth=depth))
        assert read_bundle(copied).form == form
    # Bundles of format 1 do not say it: it was always by the range of their type.
    rewrite(copied, lambda c: (c.update(format=1), c["description"].pop("depth")))
    assert read_bundle(copied).form == Form(32)


def test_bundles_of_format_2_do_not_say_what_the_backbone_is_made_for(copied: Path):
    new = ("interpolation", "native_size", "architecture")
    rewrite(copied, lambda c: (c.update(format=2), [c["description"].pop(key) for key in new]))
    description = read_bundle(copied).description
    assert [getattr(description, key) for key in new] == ["bilinear", None, None]
    assert load_model(copied).bundle.labels == description.labels


def test_a_changed_byte_of_any_file_is_noticed(copied: Path):
    names = [file.name for file in copied.iterdir() if file.name != MANIFEST]
    for name in names:
        file = copied / name
        content = file.read_bytes()
        file.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
        with pytest.raises(UserError, match=rf"{name} is not what it was"):
            read_bundle(copied)
        file.unlink()
        with pytest.raises(UserError, match=rf"{name} is missing"):
            read_bundle(copied)
        file.write_bytes(content)
    assert read_bundle(copied).labels


def test_a_file_too_many_is_noticed(copied: Path):
    (copied / "below").mkdir()
    (copied / "below" / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"below/config.json does not belong to the bundle"):
        read_bundle(copied)


@pytest.mark.parametrize(
    "name", ["../decision.json", "/etc/hostname", "a/../../x", "a//b", ".", "C:\\x", "a\\..\\b"]
)
def test_files_outside_of_the_folder_are_not_looked_at(copied: Path, name: str):
    rewrite(copied, lambda content: content["files"].update({name: "0" * 64}))
    with pytest.raises(UserError, match="names a file outside of the bundle"):
        read_bundle(copied)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.update(format=FORMAT + 1), "install a newer one"),
        (lambda c: c.update(format="1"), "format: Input should be a valid integer"),
        (lambda c: c.update(surprise=1), "surprise: Extra inputs are not permitted"),
        (lambda c: c.pop("decision"), "decision: Field required"),
        (lambda c: c["description"].update(surprise=1), "description.surprise: Unexpected"),
        (lambda c: c["description"].update(stored_size="32"), "description.stored_size"),
        (lambda c: c["description"].update(depth="deep"), "description.depth"),
        (lambda c: c["description"].update(fit="squeeze"), "description.fit"),
        (lambda c: c["decision"]["thresholds"].pop(), "not one for each label"),
        (lambda c: c["decision"]["labels"].reverse(), "not those of the description"),
        (lambda c: c["decision"].update(temperature=0.0), "decision.temperature"),
        (lambda c: c["files"].update({"README.md": "0"}), r"files.README.md: String should match"),
    ],
)
def test_a_manifest_that_says_something_else_is_refused(copied: Path, change, said: str):
    rewrite(copied, change)
    with pytest.raises(UserError, match=said):
        read_bundle(copied)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"format": NaN}', b"\xff", b"[" * 9999])
def test_a_manifest_that_is_none_is_refused(copied: Path, content: bytes):
    (copied / MANIFEST).write_bytes(content)
    with pytest.raises(UserError, match=r"bundle\.json is not"):
        read_bundle(copied)


def test_a_folder_without_a_bundle_says_how_to_make_one(tmp_path: Path):
    with pytest.raises(UserError, match=r"is no bundle.*dvc repro bundle"):
        read_bundle(tmp_path)


def test_files_that_are_links_are_read(bundle: Path, tmp_path: Path):
    for number, file in enumerate(bundle.iterdir()):
        kept = tmp_path / "cache" / str(number) / "content"  # as DVC keeps them
        kept.parent.mkdir(parents=True)
        shutil.copyfile(file, kept)
        (tmp_path / "linked").mkdir(exist_ok=True)
        (tmp_path / "linked" / file.name).symlink_to(kept)
    photos = np.zeros((1, 32, 32, 3), np.uint8)
    for runtime in ("torch", "onnx"):
        assert load_model(tmp_path / "linked", runtime).probabilities(photos, None).shape == (
            1,
            10,
        )


def resealed(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Changes ``bundle.json``, and makes the hashes anew, as anybody can."""
    content = json.loads((folder / MANIFEST).read_text("utf-8"))
    del content["format"], content["files"]
    change(content)
    seal(folder, content)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c["description"]["text"].update(hidden=9), "is not of the network described"),
        (lambda c: c["description"].update(backbone="os.system"), "neither small_cnn"),
        (lambda c: c["description"].update(backbone="timm/hf-hub:a/b"), "neither small_cnn"),
    ],
)
def test_a_network_that_does_not_fit_is_refused(copied: Path, change, said: str):
    resealed(copied, change)
    with pytest.raises(UserError, match=said):
        load_model(copied)


def test_weights_that_are_none_are_refused(copied: Path):
    (copied / "network.safetensors").write_bytes(b"\x80\x04K\x01.")  # a pickle
    resealed(copied, lambda content: None)
    for runtime in ("torch", "onnx"):
        with pytest.raises(UserError, match=r"is not of the network|cannot be loaded"):
            load_model(copied, runtime)
    (copied / "network.safetensors").unlink()
    resealed(copied, lambda content: None)
    with pytest.raises(UserError, match=r"names no network\.safetensors"):
        load_model(copied)


def test_a_graph_reads_no_other_file(copied: Path, monkeypatch: pytest.MonkeyPatch):
    """Whoever makes a bundle also makes its hashes: what a graph points at is not to be trusted."""
    graph = copied / ONNX
    graph.write_bytes(graph.read_bytes().replace(b"network.safetensors", b"network_safetensors"))
    monkeypatch.chdir(copied.parent)
    shutil.copyfile(copied / "network.safetensors", "network_safetensors")
    resealed(copied, lambda content: None)
    with pytest.raises(UserError, match=r"network\.onnx cannot be loaded"):
        load_model(copied, "onnx")

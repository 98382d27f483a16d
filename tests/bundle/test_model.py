"""A bundle at work answers as the network that was trained."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from stages.bundle.model import load_model
from stages.ingest import records
from stages.ingest.images import ImageStore
from stages.network.probabilities import read_probabilities
from stages.threshold.decision import read_decision
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def validation(bundle: Path):
    """Photos, captions and the trained network's probabilities."""
    project = bundle.parents[1]
    table = read_probabilities(project / "data/validation.parquet")
    everything = records.read(project / "data/records.parquet")
    rows = table.select("id").join(everything, on="id", maintain_order="left")
    photos = ImageStore(project / "data/images").gather(rows["image"].to_numpy())
    decision = read_decision(project / "models/decision.json")
    said = decision.calibrate(table["probabilities"].to_numpy())
    return photos, rows["caption"].to_list(), said


def test_it_says_what_the_trained_network_said(bundle: Path, validation):
    photos, captions, said = validation
    model = load_model(bundle)
    found = model.probabilities(photos, captions)
    assert found.dtype == np.float32
    assert np.abs(found - said).max() < 5e-3
    assert model.decide(found).mean() > 0


def test_both_runtimes_say_the_same(bundle: Path, validation):
    photos, captions, _ = validation
    torch, onnx = (load_model(bundle, runtime) for runtime in ("torch", "onnx"))
    for rows, said in ((1, captions), (7, [None, "", *captions[2:]]), (len(photos), None)):
        given = photos[:rows], said and said[:rows]
        found = onnx.probabilities(*given)
        assert found.shape == (rows, len(onnx.bundle.labels))
        assert np.abs(found - torch.probabilities(*given)).max() < 1e-5


def test_the_runtime_onnx_needs_neither_torch_nor_transformers(bundle: Path):
    script = """
import sys
sys.modules["torch"] = sys.modules["transformers"] = None
from pathlib import Path
import numpy as np
from stages.bundle import model
assert "onnxruntime" not in sys.modules
loaded = model.load_model(Path(sys.argv[1]), "onnx")
size = loaded.bundle.stored_size
found = loaded.probabilities(np.zeros((2, size, size, 3), np.uint8), ["red one", None])
print(found.shape, loaded.decide(found).shape)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, str(bundle)],
        cwd=ROOT, check=True, text=True, capture_output=True,
    )  # fmt: skip
    assert done.stdout == "(2, 10) (2, 10)\n"


def test_onnx_runtime_is_asked_for_the_gpu_where_it_has_one(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
):
    """As far as that can be seen where there is none: by what the runtime is asked for."""
    asked: list[list[str]] = []
    session = onnxruntime.InferenceSession

    def on_the_cpu(graph, options, providers):
        asked.append(providers)
        return session(graph, options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(onnxruntime, "InferenceSession", on_the_cpu)
    there = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    for available in (there, there[2:]):
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda to=available: to)
        load_model(bundle, "onnx")
    assert asked == [there[1:], there[2:]]

"""What is exported says what the network says, whatever it is made of."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from stages import UserError
from stages.bundle import export, graph
from stages.bundle.bundle import read_bundle
from stages.bundle.inference import InferenceModule
from stages.bundle.model import load_model
from stages.bundle.recurrent import Unpacked
from stages.network.description import Description
from stages.network.nets.caption import CaptionEncoder
from stages.network.network import new_network
from stages.network.tokens import words_of
from tests import factories
from tests.network import tiny_bert, tiny_pairs

SIDE = 48
WORDS = ["one", "two", "three"]
CAPTIONS = ["one two three one", None, "three", "unheard of", "two", " ", "one one"]
PHOTOS = np.random.default_rng(0).integers(0, 256, (len(CAPTIONS), SIDE, SIDE, 3), np.uint8)


def built(described: Description) -> tuple[InferenceModule, dict[str, np.ndarray]]:
    """A random network with something to ask it."""
    torch.manual_seed(0)
    network, words = new_network(described)
    inputs = {"photos": PHOTOS} if described.sees_images else {}
    if words is not None:
        inputs["words"] = words.encode(CAPTIONS)
    return InferenceModule(network, described, temperature=1.3), inputs


def described(inputs: str, text: dict[str, Any] | None = None, **more: Any) -> Description:
    text = factories.TEXT | (text or {})
    return factories.description(inputs, words=WORDS, stored_size=SIDE, text=text, **more)


@pytest.mark.parametrize(
    "description",
    [
        described("image+caption", fusion="concat-batchnorm", flip=True, crop=32),
        described("image+caption", {"encoder": "lstm"}, fusion="late"),
        described("caption", {"encoder": "lstm", "bidirectional": False}),
        described(
            "image",
            **{"backbone": "timm/test_vit2", "mean": (0.5,) * 3, "std": (0.5,) * 3},
            **{"feature_norm": "batch", "flip": True},
        ),
        described(
            "image+caption",
            **{"backbone": "timm/test_convnext", "pooling": "attention", "fusion": "product"},
        ),
    ],
    ids=["gru", "lstm-late", "caption", "timm", "attention"],
)
def test_as_onnx_it_says_what_it_says_in_torch(description: Description):
    answer, inputs = built(description)
    model = graph.export(answer)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    assert [each.name for each in session.get_inputs()] == list(inputs)
    for rows in (1, 2, len(CAPTIONS)):
        given = {name: value[:rows] for name, value in inputs.items()}
        [found] = session.run(["probabilities"], given)
        assert found.dtype == np.float32
        assert np.abs(found - answer.ask(given)).max() < 1e-6
    assert str(Path(__file__).parents[2]).encode() not in model.SerializeToString()


@pytest.mark.parametrize("kind", ["bert", "clip", "siglip"])
def test_a_transformer_as_onnx(tmp_path: Path, kind: str):
    make = tiny_bert.write if kind == "bert" else partial(tiny_pairs.write, kind=kind)
    text = {"encoder": "transformer", "transformer": str(make(tmp_path / kind))}
    answer, inputs = built(described("image+caption", text, fusion="product"))
    session = onnxruntime.InferenceSession(graph.export(answer).SerializeToString())
    for rows, words in ((1, 3), (2, 5), (len(CAPTIONS), 12)):
        given = {"photos": PHOTOS[:rows], "words": inputs["words"][:rows, :words]}
        [found] = session.run(["probabilities"], given)
        assert np.abs(found - answer.ask(given)).max() < 1e-6


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("encoder", ["lstm", "gru"])
def test_an_encoder_without_packing_is_the_same(encoder: str, bidirectional: bool):
    torch.manual_seed(0)
    packed = CaptionEncoder(
        9, encoder, bidirectional=bidirectional, embedding=5, hidden=4, dropout=0
    )
    lengths = torch.tensor([4, 0, 1, 6, 3])
    words = torch.randint(1, 9, (5, 6)) * (torch.arange(6) < lengths[:, None])
    with torch.inference_mode():
        found, expected = Unpacked(packed)(words, lengths), packed(words, lengths)
    assert torch.allclose(found, expected, atol=1e-6)


def test_a_network_that_cannot_be_followed_is_refused():
    class Moody(torch.nn.Module):
        def forward(self, features: torch.Tensor) -> torch.Tensor:
            return features if features.sum() > 0 else -features

    answer, _ = built(described("image"))
    answer.network.norm = Moody()
    with pytest.raises(UserError, match=r"cannot be written as ONNX \(.+\); set bundle\.onnx"):
        graph.export(answer)


def test_one_file_for_other_programs(bundle: Path, tmp_path: Path):
    read, model = read_bundle(bundle), load_model(bundle)
    side = read.stored_size
    photos = np.random.default_rng(0).integers(0, 256, (5, side, side, 3), np.uint8)
    captions = ["a red one", None, "two", "three and four", ""]
    expected = model.probabilities(photos, captions)
    inputs = {"photos": photos, "words": words_of(read.description, bundle).encode(captions)}

    export.to_onnx(read, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    assert np.abs(session.run(None, inputs)[0] - expected).max() < 1e-5

    export.to_torch_export(read, tmp_path / "model.pt2")
    module = torch.export.load(tmp_path / "model.pt2").module()
    for rows in (1, 5):
        given = {name: torch.from_numpy(value[:rows]) for name, value in inputs.items()}
        assert np.abs(module(**given).numpy() - expected[:rows]).max() < 1e-5
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx", "model.pt2"]

"""Backbones of every kind of family, the caption encoder, and what joins them."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from torchvision import models

from stages import UserError
from stages.train.batches import Batch
from stages.train.nets import backbones
from stages.train.nets.caption import CaptionEncoder
from stages.train.nets.classifier import Classifier

# A small one of each way to end: linear, in a sequence, a convolution, with auxiliary heads, …
FAMILIES = {
    "resnet18": 512,
    "squeezenet1_0": 512,
    "mobilenet_v2": 1280,
    "shufflenet_v2_x0_5": 1024,
    "efficientnet_b0": 1280,
    "googlenet": 1024,
    "regnet_x_400mf": 400,
    "densenet121": 1024,
    "mnasnet0_5": 1280,
    "swin_t": 768,
    "vit_b_32": 768,
}


@pytest.mark.parametrize("name", ["small_cnn", *FAMILIES])
def test_any_family_gives_features(name: str):
    network, features = backbones.build(name, 64)
    assert features == FAMILIES.get(name, 128)
    network.train()
    output = network(torch.rand(2, 3, 64, 64))
    assert output.shape == (2, features)
    outputs = {getattr(m, "out_features", None) for m in network.modules()}
    assert backbones.OUTPUTS not in outputs


def test_an_unknown_backbone_names_the_nearest():
    with pytest.raises(UserError, match="did you mean resnet50"):
        backbones.build("resnet5O", 64)


@pytest.mark.parametrize("name", ["alexnet", "inception_v3", "vit_b_32"])
def test_a_backbone_that_cannot_take_photos_so_small_says_so(name: str):
    with pytest.raises(UserError, match=f"{name} cannot take photos of 40 pixels"):
        backbones.build(name, 40)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_come_from_a_file_whatever_its_head(tmp_path, suffix: str):
    original = models.resnet18(num_classes=7)
    file = tmp_path / f"weights{suffix}"
    save = save_file if suffix == ".safetensors" else torch.save
    save(original.state_dict(), file)
    network, _ = backbones.build("resnet18", 64, str(file))
    original.fc = torch.nn.Identity()
    photos = torch.rand(2, 3, 64, 64)
    assert torch.equal(network.eval()(photos), original.eval()(photos))


def test_weights_of_another_network_are_refused(tmp_path):
    file = tmp_path / "weights.pth"
    torch.save(models.mobilenet_v2().state_dict(), file)
    with pytest.raises(UserError, match="is not of resnet18: it lacks"):
        backbones.build("resnet18", 64, str(file))
    torch.save({**models.resnet18().state_dict(), "conv1.weight": torch.zeros(1)}, file)
    with pytest.raises(UserError, match=r"does not fit resnet18.*conv1"):
        backbones.build("resnet18", 64, str(file))
    file.write_bytes(b"no weights")
    with pytest.raises(UserError, match="holds no weights"):
        backbones.build("resnet18", 64, str(file))
    with pytest.raises(UserError, match="does not exist"):
        backbones.build("resnet18", 64, str(tmp_path / "other.pth"))


def test_imagenet_weights_out_of_reach_say_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"set train\.weights to the file"):
        backbones.build("squeezenet1_1", 64, "imagenet")


@pytest.mark.shared
def test_real_weights_give_the_features_torchvision_computes(shared):
    file = shared / "weights" / "squeezenet1_0-imagenet.pth"
    network, _ = backbones.build("squeezenet1_0", 224, str(file))
    original = models.squeezenet1_0()
    original.load_state_dict(torch.load(file, weights_only=True))
    photos = torch.rand(1, 3, 224, 224)
    expected = original.eval().features(photos).mean(dim=(2, 3))
    assert torch.allclose(network.eval()(photos), expected, atol=1e-5)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_padding_and_neighbours_do_not_change_a_caption(cell: str, bidirectional: bool):
    torch.manual_seed(0)
    encoder = CaptionEncoder(10, cell, bidirectional, embedding=4, hidden=3, dropout=0.5).eval()
    alone = encoder(torch.tensor([[2, 3]]), torch.tensor([2]))
    among = encoder(
        torch.tensor([[4, 5, 6, 7], [2, 3, 0, 0], [0, 0, 0, 0]]), torch.tensor([4, 2, 0])
    )
    assert alone.shape == (1, encoder.features) == (1, 6 if bidirectional else 3)
    assert torch.allclose(among[1], alone[0], atol=1e-6)
    assert among.isfinite().all()


def batch_of(rows: int) -> Batch:
    words = torch.randint(2, 10, (rows, 5))
    return Batch(torch.rand(rows, 3, 32, 32), words, torch.full((rows,), 5), None)


def test_the_classifier_uses_what_it_is_given():
    torch.manual_seed(0)
    backbone, features = backbones.build("small_cnn", 32)
    network = Classifier(
        backbone, features, CaptionEncoder(10, "gru", True, 4, 4, 0.0), outputs=3, dropout=0.1
    ).eval()
    batch = batch_of(4)
    output = network(batch)
    assert output.shape == (4, 3)
    assert not torch.equal(network(replace(batch, images=batch.images.flip(0))), output)
    assert not torch.equal(network(replace(batch, words=batch.words.flip(0))), output)


def test_a_frozen_backbone_keeps_weights_and_statistics():
    backbone, features = backbones.build("small_cnn", 32)
    network = Classifier(backbone, features, None, outputs=3, dropout=0.0, frozen=True)
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    network.train()
    output = network(batch_of(4))
    output.sum().backward()
    assert all(torch.equal(t, before[name]) for name, t in backbone.state_dict().items())
    assert all(weight.grad is None for weight in backbone.parameters())
    assert network.head.weight.grad is not None

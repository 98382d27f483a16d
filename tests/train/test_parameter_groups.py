"""Rates and decays of a network's weights."""

import pytest
from torch import nn

from stages.network.nets import backbones, transformer
from stages.train.parameter_groups import parameter_groups
from tests.network import tiny_bert
from tests.train.test_recipe import changed


class Network(nn.Module):
    """A part that came with weights below a head that did not."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part, self.head = part, nn.Linear(2, 2)

    def pretrained_parts(self) -> list[nn.Module]:
        return [self.part]


def rates(network: Network, **changes) -> dict[str, float]:
    """Of each weight, by name, as fractions of ``train.lr``."""
    groups = parameter_groups(network, changed(lr=0.1, **changes))
    found = {id(weight): group["lr"] / 0.1 for group in groups for weight in group["params"]}
    return {name: found[id(weight)] for name, weight in network.named_parameters()}


def test_each_part_of_a_backbone_learns_more_slowly_than_that_above_it():
    backbone, _ = backbones.build("small_cnn", 16)
    network = Network(backbone)
    found = rates(network, layer_decay=0.5, pretrained_lr=0.4)
    assert found["head.weight"] == 1
    parts = backbones.parts(backbone)
    names = {id(weight): name for name, weight in network.named_parameters()}
    for below, part in enumerate(reversed(parts), 1):
        for weight in part.parameters():
            assert found[names[id(weight)]] == pytest.approx(0.4 * 0.5**below)
    first = parameter_groups(network, changed(lr=0.1, layer_decay=0.5))[0]
    assert first["lr"] == 0.1
    assert first["params"] == list(network.head.parameters())


class Positioned(nn.Module):
    """Like a vision transformer: positions and embedding, two layers, a norm after them."""

    def __init__(self) -> None:
        super().__init__()
        self.positions = nn.Parameter(nn.Linear(2, 2).weight.detach())
        self.blocks = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))


def test_what_lies_in_no_layer_learns_like_what_it_stands_beside():
    found = rates(Network(Positioned()), layer_decay=0.5)
    assert found["part.positions"] == 0.125
    assert (found["part.blocks.0.weight"], found["part.blocks.1.weight"]) == (0.25, 0.5)


def test_a_transformers_layers_decay_down_to_its_embeddings(tmp_path):
    encoder, _ = transformer.pretrained(str(tiny_bert.write(tmp_path)))
    found = rates(Network(encoder), layer_decay=0.5)
    layers = len(encoder.layers())
    assert layers > 1
    for name, rate in found.items():
        if "embeddings" in name:
            assert rate == 0.5 ** (layers + 1), name
        elif ".layer." in name:
            number = int(name.split(".layer.")[1].split(".")[0])
            assert rate == 0.5 ** (layers - number), name


def test_a_transformer_may_have_a_rate_of_its_own(tmp_path):
    backbone, _ = backbones.build("small_cnn", 16)
    encoder, _ = transformer.pretrained(str(tiny_bert.write(tmp_path)))
    network = Network(backbone)
    network.pretrained_parts = lambda: [backbone, encoder]
    network.text = encoder
    found = rates(network, pretrained_lr=0.5, transformer_lr=0.1)
    for name, rate in found.items():
        expected = {"head": 1, "part": 0.5, "text": 0.1}[name.split(".")[0]]
        assert rate == pytest.approx(expected), name


def test_without_decay_all_weights_of_one_rate_are_one_group():
    backbone, _ = backbones.build("small_cnn", 16)
    network = Network(backbone)
    (group,) = parameter_groups(network, changed(lr=0.1))
    assert group["params"] == list(network.parameters())

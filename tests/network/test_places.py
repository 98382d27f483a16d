"""Features of a photo's places, and the last layer that asks each of them."""

from pathlib import Path

import pytest
import torch
from torch import nn

from stages import UserError
from stages.explain import heat_maps, layers
from stages.network.description import Description
from stages.network.nets.places import SHARE, FeatureDropout, PlaceAttention
from stages.network.network import load_network, new_network, save_network
from tests import factories


def test_a_known_answer():
    """Of two places the evidence is 0 and ln 3, so they get 1/4 and 3/4 of the attention."""
    head = PlaceAttention(1, 1)
    nn.init.ones_(head.weight)
    nn.init.constant_(head.bias, 5.0)
    most = torch.tensor(3.0).log()
    places = torch.stack([torch.tensor(0.0), most])[None, :, None]
    assert head(places).item() == pytest.approx(most * (1 / 2 + SHARE * 3 / 4) + 5)


def test_a_small_thing_counts_more_than_in_the_mean():
    head = PlaceAttention(1, 1)
    nn.init.ones_(head.weight)
    everywhere, somewhere = torch.full((1, 100, 1), 0.1), torch.zeros(1, 100, 1)
    somewhere[:, 7] = 10.0  # the mean is the same
    assert head(somewhere) > head(everywhere) + 2


def test_dropout_leaves_out_a_feature_in_all_places():
    torch.manual_seed(0)
    dropped = FeatureDropout(0.5).train()(torch.ones(4, 9, 32))
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
    assert torch.equal(dropped, dropped[:, :1].expand(-1, 9, -1))
    assert not torch.equal(dropped[0], dropped[1])


def described(**more) -> Description:
    attention = {"backbone": "timm/test_vit", "pooling": "attention", "feature_norm": "batch"}
    return factories.description(
        **{"inputs": "image+caption", "words": ["one", "two"]} | attention | more
    )


@pytest.mark.parametrize("fusion", ["product", "late"])
def test_what_is_saved_is_read_again(tmp_path: Path, fusion: str):
    network, words = new_network(described(fusion=fusion))
    save_network(network, described(fusion=fusion), words, tmp_path / "network")
    again, description, _ = load_network(tmp_path / "network")
    batch = factories.batch(words=True)
    assert description.has_places
    assert torch.equal(again(batch).logits, network.eval()(batch).logits)


@pytest.mark.parametrize("change", [{"backbone": "resnet18", "fusion": "late"}, {}])
def test_what_gives_or_takes_no_places_is_refused(change: dict[str, str]):
    with pytest.raises(UserError, match=r"train\.pooling attention does not go with"):
        new_network(described(**change))


@pytest.mark.parametrize("name", ["timm/test_vit", "timm/test_convnext"])
def test_heat_maps_of_it(name: str):
    torch.manual_seed(0)
    alone = described(inputs="image", backbone=name)
    network, _ = new_network(alone)
    layer = layers.find(network.backbone.eval(), 64)[-1]
    assert layer.side == (4 if name == "timm/test_vit" else 2)
    heat = heat_maps.of_batch(network, layer, factories.batch(3), torch.tensor([0, 1, 2]))
    assert heat.shape == (3, layer.side, layer.side)
    assert heat.any()

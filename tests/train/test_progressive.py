"""Photos that grow from epoch to epoch."""

import pytest
import torch
from torchvision.models import VisionTransformer

from stages import UserError
from stages.network.batches import Batch, Shard
from stages.network.nets import backbones
from stages.train.augment import augmented
from stages.train.params import Augment, Train
from stages.train.progressive import check, side_at
from tests.train.test_augment import NOTHING, photos
from tests.train.test_recipe import changed


def sides(epochs: int, fraction: float, full: int = 224) -> list[int]:
    params = changed(progressive=fraction, epochs=epochs)
    return [side_at(epoch, params, full) for epoch in range(1, epochs + 1)]


def test_sides_grow_in_four_steps_and_are_whole_in_the_last_quarter():
    assert sides(8, 0.5) == [112, 112, 152, 152, 184, 184, 224, 224]
    assert sides(3, 0.5) == [152, 184, 224]
    assert sides(1, 0.5) == [224]
    assert sides(4, 0.1, 20) == [8, 8, 16, 20]
    assert sides(4, 1.0, 50) == [50] * 4


@pytest.mark.parametrize(("crop", "side", "seen"), [(None, 24, 24), (24, 16, 16), (24, 24, 24)])
def test_photos_are_augmented_as_if_they_were_stored_smaller(crop, side: int, seen: int):
    images = photos(4)
    batch = Batch(images, None, None, None, None, shard=Shard.all(4))
    given = Augment(**NOTHING | {"crop": crop, "horizontal_flip": 0.5, "cutout": 0.3})
    whole = augmented(batch, given, torch.Generator().manual_seed(0)).images
    small = augmented(batch, given, torch.Generator().manual_seed(0), side).images
    assert small.shape == (4, 3, seen, seen)
    assert torch.equal(small, whole) == (side == (crop or 36))


def params(backbone: str) -> Train:
    return changed(backbone=backbone, progressive=0.5, epochs=4)


@pytest.mark.parametrize("name", ["plain_cnn", "vit_b_16"])
def test_a_network_that_takes_one_size_only_refuses_others(name: str):
    small = {"num_layers": 1, "num_heads": 1, "hidden_dim": 4, "mlp_dim": 4}
    backbone = (
        VisionTransformer(image_size=64, patch_size=16, **small)
        if name == "vit_b_16"
        else backbones.build(name, 64)[0]
    )
    with pytest.raises(
        UserError, match=rf"train.progressive is 0.5, but train.backbone {name}.* 32"
    ):
        check(backbone, params(name), 64)
    check(backbone, params(name).model_copy(update={"progressive": 1.0}), 64)


def test_a_network_that_takes_any_size_is_left_as_it_is():
    backbone, _ = backbones.build("small_cnn", 64)
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    check(backbone, params("small_cnn"), 64)
    assert all(torch.equal(tensor, before[n]) for n, tensor in backbone.state_dict().items())
    check(None, params("small_cnn"), 64)

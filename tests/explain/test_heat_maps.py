"""Grad-CAM: known answers, every family of backbones, digits whose places are known."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from stages.explain import heat_maps, layers
from stages.explain.layers import Layer
from stages.ingest.decoder import decode
from stages.ingest.sources import Row, digits
from stages.network.batches import Batch
from stages.network.nets import backbones
from stages.network.nets.classifier import Classifier
from stages.network.nets.fusion import Concat
from stages.network.network import new_network
from stages.network.preprocess import prepare
from tests import factories

BACKBONES = [
    *("small_cnn", "plain_cnn", "googlenet", "resnet18", "resnet34", "resnet50"),
    *("wide_resnet50_2", "resnext50_32x4d", "shufflenet_v2_x2_0", "mobilenet_v2"),
    *(f"efficientnet_b{number}" for number in range(5)),
    *("efficientnet_v2_s", "regnet_x_3_2gf", "squeezenet1_0", "squeezenet1_1", "swin_t"),
    *("vit_b_32", "timm/test_vit", "timm/test_vit2", "timm/test_convnext"),
]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def everything(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("frozen", [False, True], ids=["learning", "frozen"])
def test_known_answer(frozen: bool):
    """Photo → two channels, red and green → their means → logits, so all is known on paper."""
    pick = nn.Conv2d(3, 2, 1, bias=False)
    pick.weight.data = torch.tensor([[1.0, 0, 0], [0, 1, 0]])[:, :, None, None]
    backbone = nn.Sequential(pick, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network = Classifier(backbone, nn.Identity(), None, Concat(nn.Linear(2, 3), 0.0, nn.Identity()))
    network.fusion.head.weight.data = torch.tensor([[3.0, 0], [-1, 2], [-1, -1]])
    network.requires_grad_(not frozen).eval()
    red = torch.tensor([[1.0, 0], [0, 0]])
    green = torch.tensor([[1.0, 0], [0, 4]])
    photo = torch.stack([red, green, torch.full((2, 2), 9.0)])
    batch = seeing(photo.expand(3, -1, -1, -1).clone())
    heat = heat_maps.of_batch(network, Layer("0", 2), batch, torch.tensor([0, 1, 2]))
    # A mean over four places passes a quarter of the weight on to each of them.
    expected = torch.stack([3 / 4 * red, (2 * green - red) / 4, torch.zeros(2, 2)])
    assert torch.allclose(heat, expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", BACKBONES)
def test_any_backbone_and_nothing_of_it_is_touched(name: str):
    network, _ = new_network(factories.description("image", labels=4, backbone=name), freeze=True)
    network.eval()
    before = everything(network)
    layer = layers.find(network.backbone, 64)[-1]
    batch = factories.batch()
    maps = [
        heat_maps.of_batch(network, layer, batch, torch.full((2,), label)) for label in range(4)
    ]
    for heat in maps:
        assert heat.shape == (2, layer.side, layer.side)
        assert heat.isfinite().all() and (heat >= 0).all()
        assert not heat.requires_grad
    # Of random weights, some speak against a label everywhere; hardly so for each of four.
    assert (torch.stack(maps).std(dim=(2, 3)).amax(dim=0) > 0).all()
    assert all((before[key] == value).all() for key, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not network.training
    assert not any(module._forward_hooks for module in network.modules())


@pytest.mark.parametrize("fusion", ["concat", "concat-relu", "concat-batchnorm", "late", "product"])
def test_beside_a_caption(fusion: str):
    described = factories.description("image+caption", words=["red", "dog"], fusion=fusion)
    network, _ = new_network(described)
    (layer,) = layers.find(network.backbone, 64)[-1:]
    network.eval()
    batch = factories.batch(words=True)
    heat = heat_maps.of_batch(network, layer, batch, torch.tensor([0, 1]))
    assert heat.isfinite().all()
    assert heat.shape == (2, 8, 8)
    assert all(parameter.grad is None for parameter in network.parameters())
    # Each photo's map is its own, whatever else is in the batch.
    alone = Batch(batch.images[1:], None, batch.words[1:], batch.lengths[1:], None)
    again = heat_maps.of_batch(network, layer, alone, torch.tensor([1]))
    assert torch.allclose(heat[1:], again, atol=1e-6)


def test_layers_are_what_all_paths_pass_through():
    class Block(nn.Module):
        def __init__(self, before: int, after: int) -> None:
            super().__init__()
            self.wide = nn.Conv2d(before, after, 1)
            self.narrow = nn.Conv2d(after, after, 1, stride=2)
            self.past = nn.Conv2d(before, after, 1, stride=2)

        def forward(self, photo: torch.Tensor) -> torch.Tensor:
            return self.narrow(self.wide(photo)) + self.past(photo)

    backbone = nn.Sequential(Block(3, 4), Block(4, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    # ``1.wide`` runs later at side 8, but ``1.past`` leads past it.
    assert layers.find(backbone.eval(), 16) == [Layer("0", 8), Layer("1", 4)]
    # 1 × 1 is no map, and the map of 2 × 2 is made in the earlier half of the run.
    assert layers.find(backbone, 4) == []


def test_backbones_by_name_have_early_and_late_layers():
    backbone, _ = backbones.build("resnet18", 64)
    assert layers.find(backbone.eval(), 64) == [
        Layer("relu", 32), Layer("layer1", 16), Layer("layer2", 8), Layer("layer3", 4),
        Layer("layer4", 2),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # Behind their last attention only the class token counts.
        ("vit_b_32", [Layer("encoder.layers.encoder_layer_10", 2, "ntc", 1)]),
        ("timm/test_vit", [Layer("blocks.4", 4, "ntc", 1)]),
        ("timm/test_vit2", [Layer("norm", 4, "ntc", 1)]),  # here the mean of the others does
    ],
)
def test_the_map_of_a_vision_transformer_are_its_tokens(name: str, expected: list[Layer]):
    backbone, _ = backbones.build(name, 64)
    assert layers.find(backbone.eval(), 64) == expected


def test_maps_whose_channels_come_last():
    class Turn(nn.Module):
        def forward(self, maps: torch.Tensor) -> torch.Tensor:
            return maps.permute(0, 2, 3, 1)

    class Mean(nn.Module):
        def forward(self, maps: torch.Tensor) -> torch.Tensor:
            return maps.mean(dim=(1, 2))

    backbone = nn.Sequential(nn.Conv2d(3, 5, 1), Turn(), nn.Linear(5, 7), Mean())
    (layer,) = layers.find(backbone.eval(), 4)
    assert layer == Layer("2", 4, "nhwc")
    assert layer.maps(torch.zeros(2, 4, 4, 7)).shape == (2, 7, 4, 4)


def test_known_answer_of_tokens():
    """As above, the same photo's places as tokens behind one that is of no place."""

    class Tokens(nn.Module):
        def forward(self, maps: torch.Tensor) -> torch.Tensor:
            return F.pad(maps.flatten(2).transpose(1, 2), (0, 0, 1, 0), value=9.0)

    class Mean(nn.Module):
        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return tokens[:, 1:].mean(dim=1)

    network = Classifier(
        nn.Sequential(Tokens(), Mean()),
        nn.Identity(),
        None,
        Concat(nn.Linear(3, 2), 0.0, nn.Identity()),
    )
    network.fusion.head.weight.data = torch.tensor([[3.0, 0, 0], [-1, 2, 0]])
    network.eval()
    red, green = torch.tensor([[1.0, 0], [0, 0]]), torch.tensor([[1.0, 0], [0, 4]])
    batch = seeing(torch.stack([red, green, torch.zeros(2, 2)]).expand(2, -1, -1, -1).clone())
    heat = heat_maps.of_batch(network, Layer("0", 2, "ntc", 1), batch, torch.tensor([0, 1]))
    assert torch.allclose(heat, torch.stack([3 / 4 * red, (2 * green - red) / 4]))


@pytest.mark.gpu
def test_on_a_gpu_as_on_the_cpu():
    described = factories.description("image+caption", words=["red", "dog"])
    network, _ = new_network(described)
    network.eval()
    layer = layers.find(network.backbone, 64)[-1]
    batch, labels = factories.batch(words=True), torch.tensor([0, 1])
    expected = heat_maps.of_batch(network, layer, batch, labels)
    network.cuda()
    there = Batch(batch.images.cuda(), None, batch.words.cuda(), batch.lengths, None)
    assert layers.find(network.backbone, 64)[-1] == layer
    heat = heat_maps.of_batch(network, layer, there, labels)
    assert torch.allclose(heat.cpu(), expected, rtol=0.02, atol=1e-3 * float(expected.max()))


def quarters(row: Row, number: int, seed: int) -> dict[int, int]:
    """Where the digits of a photo stand: the quarter of each, as the source draws it."""
    shown = digits._choose(np.random.default_rng([seed, False, number]))
    scans, draw_seed = row.photo.args
    assert sorted(map(str, shown)) == row.labels and len(scans) == len(shown)
    places = np.random.default_rng(draw_seed).permutation(4)
    return dict(zip(shown, places.tolist(), strict=False))


def learn(network: Classifier, photos: torch.Tensor, truth: torch.Tensor, epochs: int) -> None:
    optimizer = torch.optim.AdamW(network.parameters())
    batches = len(photos) // 32
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=epochs * batches)
    network.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(photos))[: batches * 32].view(-1, 32):
            answer = network(seeing(photos[rows])).logits
            loss = F.binary_cross_entropy_with_logits(answer, truth[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()


def seeing(images: torch.Tensor) -> Batch:
    return Batch(images, None, None, None, None)


@pytest.mark.slow
def test_the_heat_of_a_digit_is_where_it_stands():
    """In the right quarter of photos with three or four digits, after some seconds of learning.

    A place taken by chance is in that quarter once in 4 times, and one on the ink of any digit at
    most once in 3. Here it is about 5 times in 6; of the labels the network finds, 19 in 20.
    """
    count, learnt, size, seed = 1800, 1500, 32, 3
    source = digits.rows(Path(), digits.Options(train=count, test=1, seed=seed))
    rows = [row for row in source if row.subset == "train"]
    pixels = np.stack([decode(row.photo(), size).pixels for row in rows])
    photos = prepare(torch.from_numpy(pixels).permute(0, 3, 1, 2), None)
    truth = torch.zeros(count, 10)
    for number, row in enumerate(rows):
        truth[number, [int(label) for label in row.labels]] = 1
    network, _ = new_network(factories.description("image", labels=10, stored_size=size))
    learn(network, photos[:learnt], truth[:learnt], epochs=6)

    network.eval()
    layer = layers.find(network.backbone, size)[-1]
    right = []
    for number in range(learnt, count):
        stand = quarters(rows[number], number, seed)
        if len(stand) < 3:
            continue
        batch = seeing(photos[number].expand(len(stand), -1, -1, -1).clone())
        heat = heat_maps.of_batch(network, layer, batch, torch.tensor(list(stand)))
        large = F.interpolate(heat[:, None], (size, size), mode="bilinear", align_corners=False)
        places = large.flatten(1).argmax(dim=1).numpy()
        down, across = np.divmod(places, size)
        right += list(2 * (down >= size // 2) + (across >= size // 2) == list(stand.values()))
    assert len(right) > 200
    chance = 1 / 3
    assert np.mean(right) > 2 * chance, f"{np.mean(right):.3f}"

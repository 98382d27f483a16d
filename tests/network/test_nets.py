"""Backbones of every kind of family, caption encoders, and what joins them."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision import models
from torchvision.models.regnet import BlockParams

from stages import UserError
from stages.network.batches import Batch
from stages.network.embeddings import read_vectors
from stages.network.nets import backbones, torchvision_backbones
from stages.network.nets.caption import CaptionEncoder
from stages.network.nets.classifier import AUXILIARY_WEIGHT, Classifier
from stages.network.nets.fusion import Concat, Late, Product, mix
from stages.network.network import size_mb, weights_of

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
    "plain_cnn": 100,
    "small_cnn": 128,
}
# MB of the files that the studies saved with 18 outputs.
PUBLISHED = {
    "googlenet": 21.60,
    "shufflenet_v2_x2_0": 20.76,
    "resnet50": 90.12,
    "regnet_x_3_2gf": 54.98,
    "resnext50_32x4d": 88.16,
    "mobilenet_v2": 8.84,
    "efficientnet_b0": 15.70,
}


def image_classifier(name: str, size: int, outputs: int, **options) -> Classifier:
    backbone, features = backbones.build(name, size, auxiliary_outputs=outputs)
    head = Concat(nn.Linear(features, outputs), 0.0, nn.Identity())
    return Classifier(backbone, nn.Identity(), None, head, **options)


def batch_of(rows: int, size: int = 32) -> Batch:
    words = torch.randint(2, 10, (rows, 5))
    return Batch(torch.rand(rows, 3, size, size), None, words, torch.full((rows,), 5), None)


@pytest.mark.parametrize("name", FAMILIES)
def test_any_family_gives_features(name: str):
    network, features = backbones.build(name, 64)
    assert features == FAMILIES[name]
    network.train()
    output = network(torch.rand(2, 3, 64, 64))
    assert output.shape == (2, features)
    outputs = {getattr(m, "out_features", None) for m in network.modules()}
    assert torchvision_backbones.OUTPUTS not in outputs


@pytest.mark.parametrize("name", models.list_models(module=models))
def test_every_classification_model_of_torchvision_takes_a_batch(
    name: str, monkeypatch: pytest.MonkeyPatch
):
    count = BlockParams.from_init_params

    def count_for_real(*arguments: Any, **options: Any) -> BlockParams:
        with torch.device("cpu"):
            return count(*arguments, **options)

    # Without memory for weights: the largest take 2.5 GB. RegNets count their blocks with tensors.
    monkeypatch.setattr(BlockParams, "from_init_params", count_for_real)
    size = 299 if name == "inception_v3" else 224
    with torch.device("meta"):
        backbone, features = backbones.build(name, size)
        head = nn.Linear(features, 18)
        assert head(backbone.train()(torch.rand(2, 3, size, size))).shape == (2, 18)


@pytest.mark.parametrize("name", PUBLISHED)
def test_saved_sizes_are_the_published_ones(name: str):
    network = image_classifier(name, 64, outputs=18)
    file = io.BytesIO()  # as the studies saved them
    torch.save(weights_of(network), file)
    assert file.tell() / 2**20 == pytest.approx(PUBLISHED[name], rel=0.01)
    assert size_mb(network) < file.tell() / 2**20


def test_the_plain_network_has_the_published_number_of_parameters():
    network = image_classifier("plain_cnn", 128, outputs=14)
    assert sum(weight.numel() for weight in network.parameters()) == 11_098_110


def test_auxiliary_heads_count_while_training_and_are_not_saved():
    torch.manual_seed(0)
    network = image_classifier("googlenet", 64, outputs=3)
    output = network.train()(batch_of(2, 64))
    assert [weight for weight, _ in output.weighted_logits] == [
        1.0,
        AUXILIARY_WEIGHT,
        AUXILIARY_WEIGHT,
    ]
    assert {logits.shape for _, logits in output.weighted_logits} == {(2, 3)}
    assert torch.equal(output.weighted_logits[0][1], output.logits)
    assert len(network.eval()(batch_of(2, 64)).weighted_logits) == 1
    auxiliary = [network.backbone.aux1.fc2, network.backbone.aux2.fc2]
    assert network.heads() == [network.fusion.head, *auxiliary]
    assert not [name for name in weights_of(network) if "aux" in name]
    bare = image_classifier("googlenet", 64, outputs=3)
    bare.backbone, _ = backbones.build("googlenet", 64)
    assert bare.heads() == [bare.fusion.head]
    bare.load_state_dict(weights_of(network))
    batch = batch_of(2, 64)
    assert torch.equal(bare.eval()(batch).logits, network.eval()(batch).logits)


def test_an_unknown_backbone_names_the_nearest():
    with pytest.raises(UserError, match="did you mean resnet50"):
        backbones.build("resnet5O", 64)


@pytest.mark.parametrize("name", ["alexnet", "inception_v3", "vit_b_32"])
def test_a_backbone_that_cannot_take_photos_so_small_says_so(name: str):
    with pytest.raises(UserError, match=f"{name} cannot take photos of 40 pixels") as refused:
        backbones.build(name, 40)
    fitting = {"alexnet": 64, "inception_v3": 96, "vit_b_32": 64}[name]
    assert f"it takes {fitting}:" in str(refused.value)
    with torch.device("meta"):
        backbones.build(name, fitting)
    with pytest.raises(UserError, match="plain_cnn cannot take photos of 12 pixels"):
        backbones.build("plain_cnn", 12)


def test_auxiliary_heads_need_larger_photos_than_the_network():
    with torch.device("meta"):
        backbones.build("inception_v3", 96)
        with pytest.raises(UserError, match="inception_v3 cannot take photos of 96 pixels"):
            backbones.build("inception_v3", 96, auxiliary_outputs=3)


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


def test_a_vision_transformers_positions_are_resampled():
    options = {"num_layers": 1, "num_heads": 2, "hidden_dim": 8, "mlp_dim": 8}
    small, large = (models.VisionTransformer(size, 16, **options) for size in (64, 96))
    state = torchvision_backbones._resampled(large.state_dict(), small)
    small.load_state_dict(state)
    before, after = large.encoder.pos_embedding, small.encoder.pos_embedding
    assert torch.equal(before[:, 0], after[:, 0])  # the class token's stays
    maps = before[:, 1:].transpose(1, 2).unflatten(2, (6, 6))
    expected = nn.functional.interpolate(maps, 4, mode="bicubic", align_corners=True)
    assert torch.allclose(after[:, 1:], expected.flatten(2).transpose(1, 2))


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


def test_weights_of_a_larger_sister_are_refused(tmp_path):
    file = tmp_path / "weights.pth"
    torch.save(models.resnet34().state_dict(), file)
    with pytest.raises(UserError, match=r"is not of resnet18: it has layer1\.2\."):
        backbones.build("resnet18", 64, str(file))


@pytest.mark.parametrize("within", ["state_dict", "model"])
@pytest.mark.parametrize("prefix", ["module.", "_orig_mod."])
def test_weights_are_taken_out_of_checkpoints(tmp_path, within: str, prefix: str):
    network = backbones.build("resnet18", 64)[0]
    state = {f"{prefix}{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save({within: state, "epoch": 3}, tmp_path / "weights.pth")
    loaded = backbones.build("resnet18", 64, str(tmp_path / "weights.pth"))[0]
    assert torch.equal(loaded.conv1.weight, network.conv1.weight)


def test_what_a_file_of_weights_may_not_hold(tmp_path):
    file = tmp_path / "weights.pth"
    network = backbones.build("resnet18", 64)[0]
    torch.save(network, file)
    with pytest.raises(UserError, match=r"net\.state_dict"):
        backbones.build("resnet18", 64, str(file))
    torch.save(network.state_dict() | {"conv1.weight": torch.full((64, 3, 7, 7), torch.nan)}, file)
    with pytest.raises(UserError, match=r"weights\.pth: conv1\.weight .*NaN"):
        backbones.build("resnet18", 64, str(file))


def test_pretrained_weights_come_from_torchs_cache_or_say_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"put it at .*set train\.weights to the file") as refused:
        backbones.build("resnet18", 64, "pretrained")
    file = Path(str(refused.value).partition("put it at ")[2].partition(", or set")[0])
    original = models.resnet18()
    file.parent.mkdir(parents=True)
    torch.save(original.state_dict(), file)
    network, _ = backbones.build("resnet18", 64, "pretrained")
    assert torch.equal(network.conv1.weight, original.conv1.weight)


@pytest.mark.shared
def test_real_weights_give_the_features_torchvision_computes(shared):
    file = shared / "weights" / "squeezenet1_0-imagenet.pth"
    network, _ = backbones.build("squeezenet1_0", 224, str(file))
    original = models.squeezenet1_0()
    original.load_state_dict(torch.load(file, weights_only=True))
    photos = torch.rand(1, 3, 224, 224)
    expected = original.eval().features(photos).mean(dim=(2, 3))
    assert torch.allclose(network.eval()(photos), expected, atol=1e-5)


def test_a_frozen_backbone_keeps_weights_and_statistics():
    network = image_classifier("small_cnn", 32, outputs=3, frozen=True)
    before = {name: tensor.clone() for name, tensor in network.backbone.state_dict().items()}
    network.train()
    network(batch_of(4)).logits.sum().backward()
    after = network.backbone.state_dict()
    assert all(torch.equal(tensor, before[name]) for name, tensor in after.items())
    assert all(weight.grad is None for weight in network.backbone.parameters())
    assert network.fusion.head.weight.grad is not None


def test_unfreezing_goes_from_the_top_down():
    network = image_classifier("resnet18", 64, outputs=3, frozen=True)
    parts = backbones.parts(network.backbone)
    for count in (0, 1, 3, 99):
        network.unfreeze(count)
        network.train()
        learning = [any(w.requires_grad for w in part.parameters()) for part in parts]
        frozen = max(0, len(parts) - count)
        assert learning == [False] * frozen + [True] * (len(parts) - frozen)
        assert [part.training for part in parts] == learning
    held = {id(weight) for part in parts for weight in part.parameters()}
    assert held == {id(weight) for weight in network.backbone.parameters()}


@pytest.mark.parametrize("encoder", ["lstm", "gru"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_padding_and_neighbours_do_not_change_a_caption(encoder: str, bidirectional: bool):
    torch.manual_seed(0)
    network = CaptionEncoder(10, encoder, bidirectional, embedding=4, hidden=3, dropout=0.5).eval()
    alone = network(torch.tensor([[2, 3]]), torch.tensor([2]))
    among = network(
        torch.tensor([[4, 5, 6, 7], [2, 3, 0, 0], [0, 0, 0, 0]]), torch.tensor([4, 2, 0])
    )
    assert alone.shape == (1, network.features) == (1, 6 if bidirectional else 3)
    assert torch.allclose(among[1], alone[0], atol=1e-6)
    assert among.isfinite().all()


def test_word_vectors_come_from_a_file(tmp_path):
    file = tmp_path / "vectors.txt"
    file.write_text("4 3\nred 1 2 3\ngreen 4 5 6\n. . . 7 8 9\nblue 1e-1 0 -1\n", "utf-8")
    vectors = read_vectors(file, ["blue", "red", "grey", ". . ."], 3)
    assert {word: vector.tolist() for word, vector in vectors.items()} == {
        "red": [1, 2, 3],
        ". . .": [7, 8, 9],
        "blue": [pytest.approx(0.1), 0, -1],
    }
    encoder = CaptionEncoder(4, "gru", False, embedding=3, hidden=2, dropout=0.0)
    before = encoder.vectors.weight[2].clone()
    encoder.start_from(vectors, ["grey", "red"])
    assert torch.equal(encoder.vectors.weight[2], before)
    assert encoder.vectors.weight[3].tolist() == [1, 2, 3]
    assert not encoder.vectors.weight[0].any()
    assert encoder.coverage == 0.5


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist"),
        (b"red 1 2\n", r"line 1: 2 numbers; train\.text\.embedding is 3"),
        (b"red 1 2 3 4\n", r"line 1: 4 numbers; train\.text\.embedding is 3"),
        (b"red 1 2 3\nblue 1 x 3\n", "line 2: .*x"),
        (b"\xff\xfe\x00\x01", "is no text"),
        (b"green 1 2 3\n", "none of the 2 words"),
    ],
)
def test_word_vectors_that_cannot_be_used_say_why(tmp_path, content, message):
    file = tmp_path / "vectors.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_vectors(file, ["red", "blue"], 3)


JOINTS = {
    "concat": Concat(nn.Linear(132, 3), 0.1, nn.Identity()),
    "concat-relu": Concat(nn.Linear(132, 3), 0.1, nn.ReLU()),
    "concat-batchnorm": Concat(nn.Linear(132, 3), 0.1, nn.BatchNorm1d(132)),
    "late": Late(nn.Linear(128, 3), nn.Linear(4, 3), 0.1),
    "product": Product(nn.Linear(128, 3), nn.Linear(4, 3), 0.1),
}


def joint(fusion: nn.Module, **options) -> Classifier:
    backbone, features = backbones.build("small_cnn", 32)
    captions = CaptionEncoder(10, "gru", True, 4, 2, 0.0)
    return Classifier(backbone, nn.LayerNorm(features), captions, fusion, **options)


@pytest.mark.parametrize("name", JOINTS)
def test_the_classifier_uses_what_it_is_given(name: str):
    torch.manual_seed(0)
    network = joint(JOINTS[name]).eval()
    batch = batch_of(4)
    output = network(batch).logits
    assert output.shape == (4, 3)
    assert output.dtype == torch.float32
    other = replace(batch, images=batch.images.flip(0))
    assert not torch.equal(network(other).logits, output)
    assert not torch.equal(network(replace(batch, words=batch.words.flip(0))).logits, output)


def test_a_caption_left_out_is_as_one_that_is_not_there():
    torch.manual_seed(0)
    network = joint(JOINTS["concat"], caption_dropout=1.0)
    batch = batch_of(4)
    without = replace(batch, words=torch.zeros_like(batch.words), lengths=torch.zeros(4).long())
    for dropout in (m for m in network.modules() if isinstance(m, nn.Dropout)):
        dropout.p = 0.0
    for norm in (m for m in network.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.momentum = 0.0
    trained = network.train()(batch).logits
    assert torch.allclose(trained, network(without).logits)
    assert not torch.allclose(network.eval()(batch).logits, network(without).logits)


@pytest.mark.parametrize("name", JOINTS)
def test_a_photo_that_is_missing_is_as_features_of_zero(name: str):
    torch.manual_seed(0)
    network, batch = joint(JOINTS[name]).eval(), batch_of(4)
    network.norm = nn.Identity()
    without = network(replace(batch, images=None)).logits
    zeros = replace(batch, images=None, features=torch.zeros(4, 128))
    if name in ("late", "product"):  # the caption's expert decides, and no photo's bias counts
        _, (_, expected) = network(zeros).weighted_logits
    else:
        expected = network(zeros).logits
    assert torch.equal(without, expected)


@pytest.mark.parametrize("name", ["late", "product"])
def test_experts_know_nothing_of_each_other(name: str):
    torch.manual_seed(0)
    network = joint(JOINTS[name], caption_dropout=0.5)
    assert network.caption_dropout == 0.0
    assert joint(JOINTS["concat"], caption_dropout=0.5).caption_dropout == 0.5
    batch = batch_of(4)
    batch.words[0], batch.lengths[0] = 0, 0
    output = network.eval()(batch)
    (_, image), (_, caption) = output.weighted_logits
    assert torch.equal(output.logits[0], image[0])  # without a caption the photo decides alone
    assert not (output.logits[1:] == image[1:]).any()
    image.sum().backward(retain_graph=True)
    assert all(weight.grad is None for weight in network.captions.parameters())
    assert all(weight.grad is not None for weight in network.backbone.parameters())
    network.zero_grad()
    caption.sum().backward()
    assert all(weight.grad is None for weight in network.backbone.parameters())


def test_late_fusion_averages_probabilities_and_the_product_adds_evidence():
    image, caption = torch.randn(2, 4, 3).unbind()
    late, product = (
        Late(nn.Linear(128, 3), nn.Linear(4, 3), 0.0),
        Product(nn.Linear(128, 3), nn.Linear(4, 3), 0.0),
    )
    assert set(late.state_dict()) - set(product.state_dict()) == {"share"}  # as in older bundles
    late.share.fill_(0.3)
    expected = 0.3 * image.sigmoid() + 0.7 * caption.sigmoid()
    assert torch.allclose(late.join(image, caption).sigmoid(), expected, atol=1e-6)
    product.prior.copy_(torch.tensor([-2.0, 0.0, 1.0]))
    product.weights.copy_(torch.tensor([0.25, 1.0]))
    odds = (image - product.prior).exp() ** 0.25 * caption.exp()
    assert torch.allclose(product.join(image, caption).exp(), odds, rtol=1e-5)


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_mixed_logits_hold_where_probabilities_are_rounded_to_one(share: float):
    image, caption = torch.tensor([[40.0, -80.0, 0.5]]), torch.tensor([[35.0, -90.0, -2.0]])
    mixed = mix(image, caption, share).double()
    a, b = image.double(), caption.double()
    yes = share * a.sigmoid() + (1 - share) * b.sigmoid()
    no = share * (-a).sigmoid() + (1 - share) * (-b).sigmoid()
    assert np.allclose(mixed, yes.log() - no.log(), rtol=1e-5)


def test_kept_features_stand_for_the_photos():
    torch.manual_seed(0)
    network = image_classifier("small_cnn", 32, outputs=3).eval()
    batch = batch_of(4)
    kept = replace(batch, images=None, features=network.backbone(batch.images).detach())
    assert torch.equal(network(kept).logits, network(batch).logits)

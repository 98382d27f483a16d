"""timm's backbones: as timm builds, loads and feeds them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from timm.models import save_for_hf
from torch import nn

from stages import UserError
from stages.ingest.decoder import decode
from stages.network.nets import backbones
from stages.network.nets.classifier import Classifier
from stages.network.nets.fusion import Concat
from stages.network.network import load_network, new_network, save_network
from stages.network.preprocess import prepare
from tests import factories

PHOTOS = torch.rand(2, 3, 64, 64)
OWN = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "interpolation": "bilinear"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model with a configuration of its own, as it lies on the hub."""
    torch.manual_seed(0)
    options = {"num_classes": 3, "img_size": 96, "no_embed_class": True}
    model = timm.create_model("test_vit", pretrained_cfg_overlay=OWN, **options)
    save_for_hf(model, tmp_path / "model", model_args=options, safe_serialization=True)
    return tmp_path / "model"


@pytest.mark.parametrize(("name", "features"), [("test_vit", 64), ("test_resnet", 96)])
def test_it_is_timms_network_without_its_head(name: str, features: int):
    torch.manual_seed(0)
    ours, count = backbones.build(f"timm/{name}", 64)
    torch.manual_seed(0)
    theirs = timm.create_model(name, num_classes=0, img_size=64 if "vit" in name else None).eval()
    assert count == features
    assert torch.equal(ours(PHOTOS), theirs(PHOTOS))


@pytest.mark.parametrize(
    ("name", "places", "features"),
    [
        ("test_vit", lambda tokens: tokens[:, 1:], 64),  # the first is the class token
        ("test_convnext", lambda maps: maps.flatten(2).transpose(1, 2), 64),
        ("swin_tiny_patch4_window7_224", lambda maps: maps.flatten(1, 2), 768),  # channels last
    ],
)
def test_it_gives_the_places_of_a_photo(name: str, places, features: int):
    torch.manual_seed(0)
    ours, count = backbones.build(f"timm/{name}", 64, has_places=True)
    torch.manual_seed(0)
    options = {} if name == "test_convnext" else {"img_size": 64}
    theirs = timm.create_model(name, num_classes=0, global_pool="", **options).eval()
    assert count == features
    assert torch.equal(ours(PHOTOS), places(theirs(PHOTOS)))


@pytest.mark.parametrize("name", ["deit_tiny_distilled_patch16_224", "coat_tiny"])
def test_one_that_always_pools_says_so(name: str):
    with torch.device("meta"), pytest.raises(UserError, match=f"{name} always pools"):
        backbones.build(f"timm/{name}", 224, has_places=True)


def test_all_of_a_frozen_one_can_thaw():
    backbone, features = backbones.build("timm/test_vit", 64)
    head = Concat(nn.Linear(features, 2), 0.0, nn.Identity())
    network = Classifier(backbone, nn.Identity(), None, head, frozen=True)
    parts = backbones.parts(backbone)
    for thawed, learns in ((1, False), (len(parts), True)):
        network.unfreeze(thawed)
        assert backbone.pos_embed.requires_grad is learns
        assert backbone.patch_embed.proj.weight.requires_grad is learns
        assert backbone.norm.weight.requires_grad


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_is_resampled_to_the_size_of_the_photos(tmp_path: Path, suffix: str):
    state, file = timm.create_model("test_vit", num_classes=5).state_dict(), tmp_path / f"x{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(state, file)
    ours, _ = backbones.build("timm/test_vit", 64, str(file))
    source = {"file": str(file), "num_classes": 5}
    theirs = timm.create_model(
        "test_vit", pretrained=True, pretrained_cfg_overlay=source, num_classes=0, img_size=64
    )
    assert state["pos_embed"].shape != ours.pos_embed.shape
    assert torch.equal(ours(PHOTOS), theirs.eval()(PHOTOS))


def test_a_file_of_another_network_is_refused(tmp_path: Path):
    save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "x.safetensors")
    with pytest.raises(UserError, match=r"is not of timm/test_vit: it lacks .* more"):
        backbones.build("timm/test_vit", 64, str(tmp_path / "x.safetensors"))


@pytest.mark.parametrize(
    ("name", "size", "said"),
    [
        ("timm/test_vit", 40, "40 pixels .its patches have 16.; it takes 48"),
        ("timm/test_vti", 64, "did you mean timm/test_vit"),
        ("test_vit", 64, "did you mean timm/test_vit"),
        ("timm/test_vit.r169_in1k", 64, r"did you mean timm/test_vit\.r160_in1k"),
        ("timm/hf-hub:timm/test_vit.r160_in1k", 64, "neither small_cnn"),  # asks nobody
    ],
)
def test_what_cannot_be_built_says_why(name: str, size: int, said: str):
    with pytest.raises(UserError, match=said):
        backbones.build(name, size)


@pytest.mark.parametrize(
    ("name", "mean", "interpolation", "size"),
    [
        ("efficientnet_v2_l", (0.5, 0.5, 0.5), "bicubic", 480),
        ("vit_b_16", (0.485, 0.456, 0.406), "bilinear", 224),
        ("timm/test_vit", (0.5, 0.5, 0.5), "bicubic", 160),
        ("timm/resnet18.a1_in1k", (0.485, 0.456, 0.406), "bicubic", 224),
        ("timm/vit_base_patch16_clip_224", (0.48145466, 0.4578275, 0.40821073), "bicubic", 224),
    ],
)
def test_photos_are_prepared_as_its_configuration_says(name, mean, interpolation, size):
    known = backbones.preprocessing(name)
    assert (known["mean"], known["interpolation"], known["native_size"]) == (
        *(mean, interpolation, size),
    )


@pytest.mark.parametrize("name", ["pvt_v2_b0", "xcit_nano_12_p16_224", "efficientvit_m0"])
def test_patches_that_overlap_need_not_divide_the_photo(name: str):
    with torch.device("meta"):
        backbone, features = backbones.build(f"timm/{name}", 128)
        assert backbone(torch.rand(2, 3, 128, 128)).shape == (2, features)


def test_ours_are_prepared_as_they_were():
    assert backbones.preprocessing("small_cnn") == {}


def test_a_model_in_a_folder_brings_its_configuration_and_weights(folder: Path, tmp_path: Path):
    name = f"timm/local-dir:{folder}"
    known = backbones.preprocessing(name)
    assert known["mean"] == (0.1, 0.2, 0.3)
    assert (known["native_size"], known["interpolation"]) == (96, "bilinear")
    architecture = known["architecture"]
    assert architecture["name"] == "test_vit" and architecture["options"]["no_embed_class"]
    described = replace(factories.description("image", backbone=name), **known)
    network, _ = new_network(described, "pretrained")
    state = load_file(folder / "model.safetensors")
    assert torch.equal(
        network.backbone.blocks[0].attn.qkv.weight, state["blocks.0.attn.qkv.weight"]
    )
    assert network.backbone.pos_embed.shape == (1, 16, 64)  # for 64 pixels, not for 96
    # What is saved needs neither the folder nor the hub.
    save_network(network, described, None, tmp_path / "network")
    folder.rename(tmp_path / "gone")
    again, description, _ = load_network(tmp_path / "network")
    assert description.mean == [0.1, 0.2, 0.3] and description.architecture == architecture
    expected = network.backbone.eval()(PHOTOS)
    assert torch.equal(again.backbone(PHOTOS), expected)


def test_without_the_hub_it_says_within_seconds_what_to_do(monkeypatch, tmp_path: Path):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"timm/test_vit\.r160_in1k cannot be downloaded.*file"):
        backbones.build("timm/test_vit", 160, "pretrained")
    with pytest.raises(UserError, match=r"owner/name: its config\.json cannot be had"):
        backbones.preprocessing("timm/hf-hub:owner/name")
    with pytest.raises(UserError, match=r"local-dir:nowhere: its config\.json cannot be had"):
        backbones.preprocessing("timm/local-dir:nowhere")
    with pytest.raises(UserError, match="no pretrained weights of timm/regnetz_005"):
        backbones.build("timm/regnetz_005", 64, "pretrained")


@pytest.mark.shared
def test_real_weights_see_what_timm_sees(shared: Path):
    """A photo through ours, and through timm's own normalisation and network."""
    name, file = "timm/tf_efficientnet_lite0", shared / "weights/tf_efficientnet_lite0.safetensors"
    ours, features = backbones.build(name, 224, str(file))
    known = backbones.preprocessing(name)
    photo = sorted((shared / "coco18" / "data").glob("*.jpg"))[0]
    pixels = torch.from_numpy(np.array(decode(photo.read_bytes(), 224).pixels))
    seen = prepare(pixels.permute(2, 0, 1)[None], None, known["mean"], known["std"])
    theirs = timm.create_model("tf_efficientnet_lite0")
    theirs.load_state_dict(load_file(file))
    scaled = (pixels.permute(2, 0, 1)[None] / 255 - 0.5) / 0.5
    with torch.inference_mode():
        found = ours(seen)
        expected = theirs.eval().forward_head(theirs.forward_features(scaled), pre_logits=True)
        assert found.shape == (1, features) == (1, 1280)
        assert torch.allclose(found, expected, atol=1e-5)

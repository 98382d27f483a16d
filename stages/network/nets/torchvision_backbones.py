"""Backbones of torchvision: any of its classification models, without its head.

torchvision is imported where one is asked for: that takes as long as torch itself.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from torch import nn

from stages import UserError
from stages.network.nets.weights import load_state, reach, read_state

OUTPUTS = 1000  # of every classification model in torchvision: ImageNet's classes
AUXILIARY = ("aux1", "aux2", "AuxLogits")  # what GoogLeNet and Inception call theirs


def names() -> list[str]:
    """Of the classification models."""
    from torchvision import models

    known: list[str] = models.list_models(module=models)
    return known


def create(name: str, input_size: int, weights: str, auxiliary_outputs: int) -> nn.Module:
    """A model without the layer of ImageNet's classes; arguments as of ``backbones.build``.

    That layer is taken off, whatever the family calls it and whether it is linear or, as in
    SqueezeNet, a convolution; what the family computes up to there are the features.

    Raises:
        UserError: the weights cannot be had or do not fit.
        AssertionError, ValueError: it cannot take photos of that size.
    """
    from torchvision import models

    network: nn.Module = models.get_model(name, weights=None, **_options(name, input_size))
    head = _head(network)
    if weights != "none":
        state = _pretrained(name) if weights == "pretrained" else read_state(weights)
        load_state(network, _resampled(state, network), name, weights, head, AUXILIARY)
    if hasattr(network, "transform_input"):
        # Its weights were trained on another normalisation. (torch's annotations know no flags.)
        network.transform_input = True  # type: ignore[assignment]
    _set_auxiliary(network, auxiliary_outputs)
    network.set_submodule(head, nn.Identity())
    return network


def preprocessing(name: str) -> dict[str, Any]:
    """How photos were prepared for the best weights, as ``backbones.preprocessing`` says."""
    from torchvision.models import get_model_weights

    transforms = get_model_weights(name).DEFAULT.transforms()
    return {
        "mean": tuple(transforms.mean),
        "std": tuple(transforms.std),
        "interpolation": transforms.interpolation.value,
        "native_size": transforms.crop_size[0],
    }


def _options(name: str, input_size: int) -> dict[str, Any]:
    if name.startswith("vit_"):
        return {"image_size": input_size}
    if name.startswith("maxvit"):
        return {"input_size": (input_size, input_size)}
    if name in ("googlenet", "inception_v3"):
        return {"init_weights": True}  # else they warn that the default will change
    return {}


def _head(network: nn.Module) -> str:
    """The name of the last layer with ``OUTPUTS`` outputs that is no auxiliary one."""
    heads: list[str] = [
        name
        for name, module in network.named_modules()
        if (isinstance(module, nn.Linear) and module.out_features == OUTPUTS)
        or (isinstance(module, nn.Conv2d) and module.out_channels == OUTPUTS)
    ]
    return [name for name in heads if not name.lower().startswith("aux")][-1]


def _set_auxiliary(network: nn.Module, outputs: int) -> None:
    """Gives the auxiliary heads, where there are any, so many outputs; with 0 takes them off."""
    for name in AUXILIARY:
        head = getattr(network, name, None)
        if head is not None and outputs:
            last = "fc2" if hasattr(head, "fc2") else "fc"
            features = getattr(head, last).in_features
            setattr(head, last, nn.Linear(features, outputs))
        elif head is not None:
            # torch's annotations let modules hold modules and tensors only, no flags.
            network.aux_logits = False  # type: ignore[assignment]
            network.register_module(name, None)


def auxiliary_heads(backbone: nn.Module) -> list[nn.Linear]:
    """The last layers of the auxiliary heads, which few backbones have."""
    heads = [head for name in AUXILIARY if (head := getattr(backbone, name, None)) is not None]
    layers = [[m for m in head.modules() if isinstance(m, nn.Linear)] for head in heads]
    return [linear[-1] for linear in layers]


def _resampled(state: Mapping[str, torch.Tensor], network: nn.Module) -> Mapping[str, torch.Tensor]:
    """``state`` with a vision transformer's position embeddings for the size of ``network``."""
    from torchvision.models.vision_transformer import VisionTransformer, interpolate_embeddings

    if not isinstance(network, VisionTransformer) or "encoder.pos_embedding" not in state:
        return state
    resampled: Mapping[str, torch.Tensor] = interpolate_embeddings(
        network.image_size, network.patch_size, {**state}
    )
    return resampled


def _pretrained(name: str) -> dict[str, torch.Tensor]:
    from torchvision.models import get_model_weights

    weights = get_model_weights(name).DEFAULT
    file = Path(torch.hub.get_dir(), "checkpoints", Path(weights.url).name)
    try:
        if not file.exists():
            reach(weights.url)
        state: dict[str, torch.Tensor] = weights.get_state_dict(progress=True, check_hash=True)
        return state
    except (URLError, OSError, RuntimeError) as error:
        raise UserError(
            f"train.weights pretrained: {weights.url} cannot be downloaded ({error}). Download it "
            f"where the network allows, and put it at {file}, or set train.weights to the file"
        ) from error

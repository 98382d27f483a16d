"""Image backbones by name: ours, or any classification model of torchvision, without its head.

torchvision is imported where one of its models is asked for: that takes as long as torch itself.
"""

import copy
import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import torch
from torch import nn

from stages import UserError
from stages.files import project_root
from stages.network.nets.plain_cnn import PlainCNN
from stages.network.nets.small_cnn import SmallCNN

OUTPUTS = 1000  # of every classification model in torchvision: ImageNet's classes
AUXILIARY = ("aux1", "aux2", "AuxLogits")  # what GoogLeNet and Inception call theirs
OURS: dict[str, Callable[[int], SmallCNN | PlainCNN]] = {
    "small_cnn": lambda input_size: SmallCNN(),
    "plain_cnn": PlainCNN,
}
LEAST = 16  # pixels that ours can take
HUB_ANSWERS = 10.0  # seconds; torch itself would wait for minutes where packets are dropped


def build(
    name: str, input_size: int, weights: str = "none", auxiliary_outputs: int = 0
) -> tuple[nn.Module, int]:
    """Builds a backbone that maps (n, 3, input_size, input_size) to (n, features).

    The last layer with ImageNet's 1,000 outputs is taken off, whatever the family calls it and
    whether it is linear or, as in SqueezeNet, a convolution; what the family computes up to there
    are the features.

    Args:
        name: ``small_cnn``, ``plain_cnn`` or a name that ``torchvision.models.list_models`` gives.
        input_size: in pixels; transformers are built for it.
        weights: ``none`` (random), ``imagenet`` (torchvision's best, downloaded) or a file with
            the state dict of the whole torchvision model, ``.safetensors`` or as ``torch.save``
            writes it.
        auxiliary_outputs: of the auxiliary heads of GoogLeNet and Inception, which help to train:
            in training mode these networks then give a tuple, features first. 0: none.

    Returns:
        The backbone and its number of features.

    Raises:
        UserError: no such model; photos of a size it cannot take; weights that cannot be had or
            do not fit it.
    """
    if name in OURS:
        if input_size < LEAST:
            raise _too_small(name, input_size, f"it halves them to nothing below {LEAST}")
        ours = OURS[name](input_size)
        return ours, ours.features
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        nearest = difflib.get_close_matches(name, [*OURS, *known], n=1)
        hint = f"; did you mean {nearest[0]}?" if nearest else ""
        raise UserError(
            f"train.backbone {name} is neither {', '.join(OURS)} nor in torchvision{hint}"
        )
    try:
        network = models.get_model(name, weights=None, **_options(name, input_size))
    except (AssertionError, ValueError) as error:
        raise _too_small(name, input_size, error) from error
    head_name, head = _head(network)
    if weights != "none":
        _load(network, head_name, name, weights)
    if hasattr(network, "transform_input"):
        network.transform_input = True  # its weights were trained on another normalisation
    _set_auxiliary(network, auxiliary_outputs)
    network.set_submodule(head_name, nn.Identity())
    photos = torch.zeros(2, 3, input_size, input_size)
    try:
        with torch.inference_mode():
            if auxiliary_outputs:  # heads at work in training only may need larger photos
                copy.deepcopy(network).train()(photos)
            network.eval()(photos)
    except (RuntimeError, ValueError) as error:
        raise _too_small(name, input_size, error) from error
    return network, head.in_channels if isinstance(head, nn.Conv2d) else head.in_features


def parts(backbone: nn.Module) -> list[nn.Module]:
    """The modules of a backbone that hold parameters, in order, from the photo to the features.

    They are its children; those that are sequences stand for their elements.
    """
    modules: list[nn.Module] = []
    for child in backbone.children():
        modules += list(child) if isinstance(child, nn.Sequential) else [child]
    return [module for module in modules if any(True for _ in module.parameters())]


def _too_small(name: str, input_size: int, error: object) -> UserError:
    return UserError(
        f"train.backbone {name} cannot take photos of {input_size} pixels ({error}); change "
        "ingest.image_size or train.augment.crop, or take another backbone"
    )


def _options(name: str, input_size: int) -> dict[str, Any]:
    if name.startswith("vit_"):
        return {"image_size": input_size}
    if name.startswith("maxvit"):
        return {"input_size": (input_size, input_size)}
    if name in ("googlenet", "inception_v3"):
        return {"init_weights": True}  # else they warn that the default will change
    return {}


def _head(network: nn.Module) -> tuple[str, nn.Linear | nn.Conv2d]:
    heads = [
        (name, module)
        for name, module in network.named_modules()
        if (isinstance(module, nn.Linear) and module.out_features == OUTPUTS)
        or (isinstance(module, nn.Conv2d) and module.out_channels == OUTPUTS)
    ]
    main = [head for head in heads if not head[0].lower().startswith("aux")]
    return main[-1]


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


def _load(network: nn.Module, head: str, name: str, weights: str) -> None:
    state = _imagenet(name) if weights == "imagenet" else _file(project_root() / weights)
    # The head goes anyway; the file's may have another number of outputs, or no auxiliary heads.
    wanted = {key for key in network.state_dict() if not key.startswith(f"{head}.")}
    missing = sorted(key for key in wanted - state.keys() if not key.startswith(AUXILIARY))
    if missing:
        raise UserError(
            f"train.weights {weights} is not of {name}: it lacks {missing[0]}"
            f"{f' and {len(missing) - 1} more' if missing[1:] else ''}"
        )
    try:
        network.load_state_dict({key: state[key] for key in wanted & state.keys()}, strict=False)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise UserError(f"train.weights {weights} does not fit {name}: {reason}") from error


def _imagenet(name: str) -> dict[str, torch.Tensor]:
    from torchvision.models import get_model_weights

    weights = get_model_weights(name).DEFAULT
    file = Path(torch.hub.get_dir(), "checkpoints", Path(weights.url).name)
    try:
        if not file.exists():
            with urlopen(Request(weights.url, method="HEAD"), timeout=HUB_ANSWERS):
                pass
        state: dict[str, torch.Tensor] = weights.get_state_dict(progress=True, check_hash=True)
        return state
    except (URLError, OSError, RuntimeError) as error:
        raise UserError(
            f"train.weights imagenet: {weights.url} cannot be downloaded ({error}). Download it "
            f"where the network allows, and put it at {file}, or set train.weights to the file"
        ) from error


def _file(path: Path) -> dict[str, torch.Tensor]:
    if not path.exists():
        raise UserError(f"train.weights {path} does not exist; it is none, imagenet or a file")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # both readers raise many kinds for a file that is something else
        raise UserError(f"train.weights {path} holds no weights that can be read") from error
    if not isinstance(state, dict) or not all(torch.is_tensor(t) for t in state.values()):
        raise UserError(f"train.weights {path} is no state dict (names to tensors)")
    return state

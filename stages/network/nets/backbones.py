"""Image backbones by name, without their heads: ours, torchvision's or timm's."""

import copy
import difflib
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from stages import UserError
from stages.network.nets import timm_backbones, torchvision_backbones
from stages.network.nets.plain_cnn import PlainCNN
from stages.network.nets.small_cnn import SmallCNN
from stages.network.nets.weights import first_line

OURS: dict[str, Callable[[int], SmallCNN | PlainCNN]] = {
    "small_cnn": lambda input_size: SmallCNN(),
    "plain_cnn": PlainCNN,
}
LEAST = 16  # pixels that ours can take
# What the libraries raise where photos are too small, or of a size that does not divide.
MISFITS = (ArithmeticError, AssertionError, RuntimeError, TypeError, ValueError)


def build(
    name: str,
    input_size: int,
    weights: str = "none",
    auxiliary_outputs: int = 0,
    architecture: Mapping[str, Any] | None = None,
    check: Callable[[nn.Module], None] = lambda backbone: None,
    has_places: bool = False,
) -> tuple[nn.Module, int]:
    """Builds a backbone that maps (n, 3, input_size, input_size) to (n, features).

    Args:
        name: ``small_cnn``, ``plain_cnn``, a name that ``torchvision.models.list_models`` gives,
            or ``timm/`` and a name that ``timm.list_models`` gives, with a tag of weights or
            without; or ``timm/hf-hub:OWNER/NAME`` or ``timm/local-dir:FOLDER``.
        input_size: in pixels; transformers are built for it.
        weights: ``none`` (random), ``pretrained`` (its own by default, downloaded) or a file with
            the state dict of the whole model, ``.safetensors`` or as ``torch.save`` writes it.
        auxiliary_outputs: of the auxiliary heads of torchvision's GoogLeNet and Inception, which
            help to train: in training mode these networks then give a tuple, features first.
            0: none.
        architecture: of the last two kinds of names, as from ``preprocessing``.
        check: looks at the backbone before a photo goes through it, which takes memory.
        has_places: of timm's: it maps to (n, places, features).

    Returns:
        The backbone and its number of features.

    Raises:
        UserError: no such model; photos of a size it cannot take; weights that cannot be had or
            do not fit it.
    """
    if name in OURS:
        if input_size < LEAST:
            why = f"it halves them to nothing below {LEAST}"
            raise _misfit(name, input_size, why, LEAST)
        ours = OURS[name](input_size)
        check(ours)
        return ours, ours.features
    # Only an architecture is built: nothing is asked of a hub for a name that has none.
    _check_name(name if architecture is None else timm_backbones.PREFIX + architecture["name"])
    try:
        return _create(
            name, input_size, weights, auxiliary_outputs, architecture, check, has_places
        )
    except MISFITS as error:
        fitting = _fitting(name, input_size, auxiliary_outputs, architecture)
        raise _misfit(name, input_size, error, fitting) from error


def _create(
    name: str,
    input_size: int,
    weights: str,
    auxiliary_outputs: int,
    architecture: Mapping[str, Any] | None,
    check: Callable[[nn.Module], None] = lambda backbone: None,
    has_places: bool = False,
) -> tuple[nn.Module, int]:
    """A backbone of a library that has seen photos, and its number of features."""
    if name.startswith(timm_backbones.PREFIX):
        network = timm_backbones.create(name, input_size, weights, architecture, has_places)
    else:
        network = torchvision_backbones.create(name, input_size, weights, auxiliary_outputs)
    check(network)
    photos = torch.zeros(2, 3, input_size, input_size)
    with torch.inference_mode():
        if auxiliary_outputs:  # heads at work in training only may need larger photos
            copy.deepcopy(network).train()(photos)
        features = network.eval()(photos)
    return network, features.shape[-1]


def _fitting(
    name: str, input_size: int, auxiliary_outputs: int, architecture: Mapping[str, Any] | None
) -> int | None:
    """A larger size that the backbone takes: of whole patches or strides, or its weights' own."""
    steps = ((14, 1), (16, 1), (32, 1), (32, 2), (32, 4))
    sizes = {(times * input_size // step + 1) * step for step, times in steps}
    if architecture is None:
        sizes.add(preprocessing(name)["native_size"])
    for size in sorted(size for size in sizes if size > input_size):
        try:
            with torch.device("meta"):  # without memory for weights, and in no time
                _create(name, size, "none", auxiliary_outputs, architecture)
        except MISFITS:
            continue
        return size
    return None


def preprocessing(name: str) -> dict[str, Any]:
    """How photos have to be prepared for a backbone, by its own configuration.

    Returns:
        As fields of ``Description``: ``mean`` and ``std`` of the normalisation, the
        ``interpolation`` by which photos were resized to the ``native_size`` that its weights were
        trained on, and the ``architecture`` of a model that is described elsewhere. Empty for
        ours.

    Raises:
        UserError: there is no such model.
    """
    if name in OURS:
        return {}
    if not name.startswith(timm_backbones.PREFIX):
        _check_name(name)
        return torchvision_backbones.preprocessing(name)
    if ":" not in name:
        _check_name(name)
    return timm_backbones.preprocessing(name)


def parts(backbone: nn.Module) -> list[nn.Module]:
    """The modules of a backbone that hold parameters, in order, from the photo to the features.

    They are its children; those that are sequences stand for their elements.
    """
    modules: list[nn.Module] = []
    for child in backbone.children():
        modules += list(child) if isinstance(child, nn.Sequential | nn.ModuleList) else [child]
    return [module for module in modules if any(True for _ in module.parameters())]


def _check_name(name: str) -> None:
    if name.startswith(timm_backbones.PREFIX):
        if timm_backbones.is_known(name):
            return
    elif name in torchvision_backbones.names():
        return
    known = [*OURS, *torchvision_backbones.names(), *timm_backbones.names()]
    nearest = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {nearest[0]}?" if nearest else ""
    raise UserError(
        f"train.backbone {name} is neither {', '.join(OURS)} nor in torchvision, nor, as "
        f"{timm_backbones.PREFIX}NAME, in timm{hint}"
    )


def _misfit(name: str, input_size: int, reason: object, fitting: int | None) -> UserError:
    why = first_line(reason)
    way = f"it takes {fitting}: change" if fitting else "change"
    return UserError(
        f"train.backbone {name} cannot take photos of {input_size} pixels ({why}); {way} "
        "ingest.image_size or train.augment.crop, or take another backbone"
    )

"""Backbones of timm (Wightman 2019), by its names or by those of models on the Hugging Face hub.

timm is imported where one is asked for: that takes a second, and torchvision's import with it.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from stages import UserError
from stages.files import project_root
from stages.network.nets.places import give_places
from stages.network.nets.weights import first_line, load_state, reach, read_state

PREFIX = "timm/"
NO_PLACES = (
    "train.pooling is attention, but train.backbone {name} always pools, and gives no places; set "
    "train.pooling to backbone, or take another backbone"
)
WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # as models on the hub call theirs


def names() -> list[str]:
    """Of the architectures, and of these with a tag of weights; all with the prefix."""
    import timm

    return [PREFIX + name for name in (*timm.list_models(), *timm.list_pretrained())]


def is_known(name: str) -> bool:
    """Whether timm has that architecture and, where the name has a tag, such weights of it."""
    from timm.models import get_arch_pretrained_cfgs, is_model, split_model_name_tag

    plain = name.removeprefix(PREFIX)
    architecture, tag = split_model_name_tag(plain)
    return is_model(architecture) and (not tag or plain in get_arch_pretrained_cfgs(architecture))


def create(
    name: str,
    input_size: int,
    weights: str,
    architecture: Mapping[str, Any] | None,
    has_places: bool = False,
) -> nn.Module:
    """A model that ends in its features; arguments as of ``backbones.build``.

    Position embeddings, and what else of the weights hangs on the size of the photos, are
    resampled to ``input_size`` by timm.

    Raises:
        UserError: the weights cannot be had or do not fit, or it gives no places.
        ArithmeticError, AssertionError, RuntimeError, TypeError, ValueError: it cannot take photos
            of that size.
    """
    import timm
    from timm.layers import PatchEmbed

    built = architecture or {"name": name.removeprefix(PREFIX), "options": {}}
    options = {**built["options"], "num_classes": 0}
    registered = timm.get_pretrained_cfg(built["name"])
    if registered is not None and registered.fixed_input_size:
        options["img_size"] = input_size
    if weights == "pretrained":
        network = _pretrained(name, options)
    else:
        network = timm.create_model(built["name"], pretrained=False, **options)
    patches = getattr(network, "patch_embed", None)
    if isinstance(patches, PatchEmbed) and any(input_size % side for side in patches.patch_size):
        raise ValueError(f"its patches have {patches.patch_size[0]}")  # timm would cut off the rest
    if weights not in ("none", "pretrained"):
        # From other sizes, and from the names of those who trained it.
        adapt = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
        state = read_state(weights)
        load_state(network, adapt(state, network) if adapt else state, name, weights)
    if has_places:
        _give_places(network, name)
    return network


def _give_places(network: Any, name: str) -> None:
    """Takes the pooling off a model, as all of timm's name it; a ``UserError`` where one cannot."""
    try:
        network.reset_classifier(0, "")
    except (AssertionError, AttributeError, TypeError, ValueError) as error:
        raise UserError(NO_PLACES.format(name=name)) from error
    give_places(
        network,
        getattr(network, "head_hidden_size", network.num_features),
        NO_PLACES.format(name=name),
    )


def preprocessing(name: str) -> dict[str, Any]:
    """How photos were prepared for its default weights, as ``backbones.preprocessing`` says.

    Raises:
        UserError: there is no such model on the hub, or the hub does not answer.
    """
    from timm.data import resolve_data_config

    configuration, architecture = _configuration(name)
    known = resolve_data_config(pretrained_cfg=configuration)  # type: ignore[no-untyped-call]
    return {
        "mean": tuple(known["mean"]),
        "std": tuple(known["std"]),
        "interpolation": known["interpolation"],
        "native_size": known["input_size"][-1],
        "architecture": architecture,
    }


def _configuration(name: str) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """That of the weights, and for a model that timm has only by its own: its architecture."""
    import timm
    from timm.models import load_model_config_from_hf
    from timm.models._hub import load_model_config_from_path

    source, _, where = _source(name).rpartition(":")
    if not source:
        registered = timm.get_pretrained_cfg(where)
        assert registered is not None  # its name is known
        return registered.to_dict(), None  # type: ignore[no-untyped-call]
    try:
        if source == "hf-hub":
            _reach_hub(where, "config.json")
            configuration, architecture, options = load_model_config_from_hf(where)
        else:
            configuration, architecture, options = load_model_config_from_path(where)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"train.backbone {name}: its config.json cannot be had ({first_line(error)}); check "
            "the name, or download the model where the network allows and name its folder, "
            f"{PREFIX}local-dir:FOLDER"
        ) from error
    if not timm.is_model(architecture):
        raise UserError(f"train.backbone {name} is of {architecture}, which timm does not have")
    size = options.pop("img_size", None)  # ours is that of the photos
    if size is not None:
        configuration["input_size"] = (3, *((size, size) if isinstance(size, int) else size))
    return configuration, {"name": architecture, "options": options}


def _source(name: str) -> str:
    """The name as timm takes it; folders are below the project."""
    plain = name.removeprefix(PREFIX)
    folder = plain.removeprefix("local-dir:")
    return plain if folder == plain else f"local-dir:{project_root() / folder}"


def _pretrained(name: str, options: dict[str, Any]) -> nn.Module:
    import timm

    configuration, _ = _configuration(name)
    repository, url = configuration.get("hf_hub_id"), configuration.get("url")
    if not (repository or url or configuration.get("file")):
        raise UserError(
            f"there are no pretrained weights of {name}; set train.weights to none or a file"
        )
    place = f"https://huggingface.co/{repository}" if repository else url
    try:
        if repository:
            named = configuration.get("hf_hub_filename")
            _reach_hub(repository, *([named] if named else []), *WEIGHTS)
        elif url and not Path(torch.hub.get_dir(), "checkpoints", Path(url).name).exists():
            reach(url)
        network: nn.Module = timm.create_model(_source(name), pretrained=True, **options)
        return network
    except OSError as error:
        raise UserError(
            f"train.weights pretrained: {place} cannot be downloaded ({first_line(error)}). "
            "Download the weights where the network allows, and set train.weights to their file"
        ) from error


def _reach_hub(repository: str, *files: str) -> None:
    """Sees that the hub answers, unless one of the files of a model is kept here."""
    from huggingface_hub import constants, try_to_load_from_cache

    name, _, revision = repository.partition("@")
    kept = (try_to_load_from_cache(name, file, revision=revision or None) for file in files)
    if not any(isinstance(file, str) for file in kept):
        reach(constants.ENDPOINT)

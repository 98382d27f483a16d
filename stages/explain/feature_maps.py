"""What a backbone makes of a photo on its way: maps of early, middle and late layers."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from stages.explain.layers import Layer
from stages.network.batches import Rows
from stages.network.description import Description
from stages.network.nets.classifier import Classifier
from stages.network.network import prepared

PHOTOS_AT_ONCE = 8


def choose_layers(layers: Sequence[Layer]) -> list[Layer]:
    """An early, a middle and a late one of ``layers``; all of them where there are up to three."""
    places = {0, len(layers) // 2, len(layers) - 1} if layers else set()
    return [layers[place] for place in sorted(places)]


def of_rows(
    network: Classifier,
    description: Description,
    layers: Sequence[Layer],
    rows: Rows,
    channels: int,
) -> list[np.ndarray]:
    """The maps that ``most_active`` gives for photos, read batch by batch.

    Args:
        network: one that sees photos.

    Returns:
        For each layer float32 (rows, channels, side, side); fewer channels where it has no more.
    """
    device = next(network.parameters()).device
    batches = []
    for batch in rows.batches(PHOTOS_AT_ONCE, device):
        images = prepared(batch, description).images
        assert network.backbone is not None and images is not None
        batches.append(most_active(network.backbone, layers, images, channels))
    return [torch.cat(maps).cpu().numpy() for maps in zip(*batches, strict=True)]


@torch.inference_mode()
def most_active(
    backbone: nn.Module, layers: Sequence[Layer], photos: torch.Tensor, channels: int
) -> list[torch.Tensor]:
    """The channels of each layer whose maps vary most over a photo, most varied first.

    Args:
        photos: prepared, (n, 3, h, w), on the backbone's device.

    Returns:
        For each layer float32 (n, channels, side, side); fewer channels where it has no more.
    """
    backbone.eval()
    maps: dict[str, torch.Tensor] = {}

    def keep(name: str):
        def hook(module: nn.Module, _: object, output: torch.Tensor) -> None:
            maps[name] = output.float().clone()  # what follows may write into it

        return hook

    hooks = [
        backbone.get_submodule(layer.name).register_forward_hook(keep(layer.name))
        for layer in layers
    ]
    try:
        backbone(photos)
    finally:
        for each in hooks:
            each.remove()
    return [_most_varied(layer.maps(maps[layer.name]), channels) for layer in layers]


def _most_varied(maps: torch.Tensor, channels: int) -> torch.Tensor:
    # By deviation, not mean: a channel that answers everywhere alike shows nothing of the photo.
    spread = maps.std(dim=(2, 3))
    chosen = spread.topk(min(channels, maps.shape[1]), dim=1).indices
    return maps.gather(1, chosen[:, :, None, None].expand(-1, -1, *maps.shape[2:]))

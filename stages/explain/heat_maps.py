"""What in a photo speaks for a label: Grad-CAM (Selvaraju et al. 2017)."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from stages.explain.layers import Layer
from stages.network.batches import Batch, Rows
from stages.network.description import Description
from stages.network.nets.classifier import Classifier
from stages.network.network import prepared

PHOTOS_AT_ONCE = 16


def of_rows(
    network: Classifier,
    description: Description,
    layer: Layer,
    rows: Rows,
    labels: np.ndarray,
    advance: Callable[[int], None] = lambda count: None,
) -> np.ndarray:
    """The heat maps that ``of_batch`` gives for photos, read batch by batch.

    Args:
        labels: int (rows,), an output of the network for each photo.
        advance: is told after each batch how many photos it had.

    Returns:
        float32 (rows, side, side).
    """
    device = next(network.parameters()).device
    maps = [np.empty((0, layer.side, layer.side), np.float32)]
    parts = torch.tensor(labels).split(PHOTOS_AT_ONCE)
    for stored, part in zip(rows.batches(PHOTOS_AT_ONCE, device), parts, strict=False):
        batch = prepared(stored, description)
        maps.append(of_batch(network, layer, batch, part).cpu().numpy())
        advance(len(part))
    return np.concatenate(maps)


def of_batch(network: Classifier, layer: Layer, batch: Batch, labels: torch.Tensor) -> torch.Tensor:
    """Where a photo holds what raises the logit of a label, for one label a photo.

    The channels of the layer's map are weighed by how much each of them raises the logit, on
    average over the photo; their sum, where it is positive, is the heat map. The caption stays
    as it is. In single precision; no gradient is needed of, or left on, any parameter.

    Args:
        network: one that sees photos.
        batch: with prepared photos, on the network's device.
        labels: int64 (n,), an output of the network for each photo.

    Returns:
        float32 (n, side, side), not negative; 0 throughout where nothing speaks for the label.
    """
    assert network.backbone is not None
    network.eval()
    kept = torch.empty(0)

    def keep(module: nn.Module, _: object, output: torch.Tensor) -> torch.Tensor:
        nonlocal kept
        kept = output.detach().requires_grad_()
        # Only what comes after the layer is remembered for the backward pass.
        torch.set_grad_enabled(True)
        return kept.clone()  # what follows may write into it

    hook = network.backbone.get_submodule(layer.name).register_forward_hook(keep)
    try:
        with torch.no_grad():
            logits = network(batch).logits
    finally:
        hook.remove()
    # In eval mode no row knows of another, so the gradient of the sum is that of each.
    chosen = logits.gather(1, labels.to(logits.device)[:, None])
    (gradients,) = torch.autograd.grad(chosen.sum(), kept)
    weights = layer.maps(gradients).mean(dim=(2, 3), keepdim=True)
    return (weights * layer.maps(kept.detach())).sum(dim=1).relu()

"""Smaller photos in the first epochs (Tan & Le 2021): these cost less, and prepare for the last.

Photos are made smaller as they are stored, before all augmentation, as if they had been stored so.
"""

import copy
from math import ceil

import torch
from torch import nn

from stages import UserError
from stages.network.batches import Batch
from stages.train.params import Augment, Train
from stages.train.transforms import resize

STAGES = 4  # of equal size, as in the paper: few sizes, to which a GPU has to adjust
STEP = 8  # pixels: sides are multiples of it, for the sake of GPUs and of small feature maps


def side_at(epoch: int, params: Train, full: int) -> int:
    """The side of photos in an epoch, from 1, where it is ``full`` in the last, in pixels."""
    stage = ceil(STAGES * epoch / params.epochs) - 1
    if params.progressive == 1 or stage == STAGES - 1:
        return full
    fraction = params.progressive + (1 - params.progressive) * stage / (STAGES - 1)
    return min(full, max(STEP, round(fraction * full / STEP) * STEP))


def shrink(batch: Batch, params: Augment, side: int) -> tuple[Batch, Augment]:
    """Stored photos, and their augmentation, such that the network sees ``side`` pixels.

    Args:
        batch: of uint8 images, or of none.
    """
    stored = batch.images.shape[2] if batch.images is not None else side
    full = params.crop or stored
    if batch.images is None or side == full:
        return batch, params
    size = round(stored * side / full)
    smaller = batch.map_images(lambda images: resize(images, (size, size)))
    return smaller, params.model_copy(update={"crop": params.crop and side})


def check(backbone: nn.Module | None, params: Train, full: int) -> None:
    """Asks a backbone, on the CPU, whether it takes the photos of the first epoch.

    Args:
        full: the side of those that it is built for, in pixels.

    Raises:
        UserError: it does not.
    """
    side = side_at(1, params, full) if params.epochs else full
    if backbone is None or side == full:
        return
    try:
        with torch.inference_mode():  # a copy: in training mode, statistics are kept
            copy.deepcopy(backbone).train()(torch.zeros(2, 3, side, side))
    except (AssertionError, RuntimeError, ValueError) as error:
        raise UserError(
            f"train.progressive is {params.progressive:g}, but train.backbone {params.backbone}, "
            f"built for photos of {full} pixels, cannot take those of {side} with which the first "
            f"epoch would begin ({str(error).splitlines()[0]}); raise it, set it to 1, or take "
            "another backbone"
        ) from error

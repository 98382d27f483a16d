"""Photos as they are stored → what a network sees, whole batches at once on their device."""

import torch

from stages.network.description import MEAN, STD


def prepare(
    images: torch.Tensor,
    crop: int | None,
    mean: tuple[float, ...] = MEAN,
    std: tuple[float, ...] = STD,
) -> torch.Tensor:
    """uint8 (n, 3, h, w) → normalised float32; only the centre ``crop`` × ``crop`` pixels."""
    if crop is not None:
        top, left = (images.shape[2] - crop) // 2, (images.shape[3] - crop) // 2
        images = images[:, :, top : top + crop, left : left + crop]
    return normalise(images.float() / 255, mean, std)


def normalise(
    pixels: torch.Tensor, mean: tuple[float, ...] = MEAN, std: tuple[float, ...] = STD
) -> torch.Tensor:
    """Float32 (n, 3, h, w) in [0, 1] → each channel less ``mean``, over ``std``."""
    # (pixels - mean) / std; not addcmul, which is slow where two of its three sides are broadcast.
    factors, offsets = (
        torch.tensor(values).to(pixels.device, non_blocking=True)[:, None, None]
        for values in ([1 / s for s in std], [-m / s for m, s in zip(mean, std, strict=True)])
    )
    return (pixels * factors).add_(offsets)

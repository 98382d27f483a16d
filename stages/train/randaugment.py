"""RandAugment (Cubuk et al. 2020) on batches: each photo draws other operations.

The operations and their strengths are torchvision's, and the black that comes in from outside;
what moves is interpolated, as in torchvision's own recipes.
"""

from collections.abc import Callable

import torch

from stages.train.transforms import (
    adjust_brightness,
    adjust_contrast,
    adjust_saturation,
    adjust_sharpness,
    affine,
    autocontrast,
    equalize,
    posterize,
    shear,
    solarize,
)

STRONGEST = 30
# Of photos and their strengths, (n,) from -1 to 1; the sign is of no matter to those from
# Posterize on.
OPERATIONS: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "Identity": lambda pixels, s: pixels,
    "ShearX": lambda pixels, s: shear(pixels, 0.3 * s, 0 * s),
    "ShearY": lambda pixels, s: shear(pixels, 0 * s, 0.3 * s),
    "TranslateX": lambda pixels, s: affine(pixels, 0 * s, _ones(s), _far(pixels, 3, s), 0 * s),
    "TranslateY": lambda pixels, s: affine(pixels, 0 * s, _ones(s), 0 * s, _far(pixels, 2, s)),
    "Rotate": lambda pixels, s: affine(pixels, -30 * s, _ones(s), 0 * s, 0 * s),
    "Brightness": lambda pixels, s: adjust_brightness(pixels, 1 + 0.9 * s),
    "Color": lambda pixels, s: adjust_saturation(pixels, 1 + 0.9 * s),
    "Contrast": lambda pixels, s: adjust_contrast(pixels, 1 + 0.9 * s),
    "Sharpness": lambda pixels, s: adjust_sharpness(pixels, 1 + 0.9 * s),
    "Posterize": lambda pixels, s: posterize(pixels, 8 - (4 * s.abs()).round()),
    "Solarize": lambda pixels, s: solarize(pixels, 255 - 255 * s.abs()),
    "AutoContrast": lambda pixels, s: autocontrast(pixels),
    "Equalize": lambda pixels, s: equalize(pixels),
}


def sample_operations(
    photos: int, number: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draws ``number`` operations for each photo.

    Returns:
        Places in ``OPERATIONS``, and signs, -1 or 1; both int64 (number, photos).
    """
    operations, signs = (
        torch.randint(choices, (number, photos), generator=generator)
        for choices in (len(OPERATIONS), 2)
    )
    return operations, 2 * signs - 1


def randaugment(
    pixels: torch.Tensor, operations: torch.Tensor, signs: torch.Tensor, magnitude: int
) -> torch.Tensor:
    """Float32 (n, 3, h, w) in [0, 1], each photo through its operations, one after the other.

    Args:
        operations, signs: as ``sample_operations`` draws them, on the CPU.
        magnitude: of all operations, 0 to ``STRONGEST``.
    """
    names = list(OPERATIONS)
    for chosen, strengths in zip(operations, signs * magnitude / STRONGEST, strict=True):
        operated = torch.empty_like(pixels)
        for operation in chosen.unique().tolist():
            photos = (chosen == operation).nonzero()[:, 0]
            places = photos.to(pixels.device, non_blocking=True)
            operated[places] = OPERATIONS[names[operation]](pixels[places], strengths[photos])
        pixels = operated
    return pixels


def _ones(strengths: torch.Tensor) -> torch.Tensor:
    return torch.ones_like(strengths)


def _far(pixels: torch.Tensor, axis: int, strengths: torch.Tensor) -> torch.Tensor:
    """Whole pixels, as in torchvision."""
    return (150 / 331 * pixels.shape[axis] * strengths).trunc()

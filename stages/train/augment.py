"""Photos as they are stored → what a network sees, whole batches at once on their device.

Each photo of a batch draws its own numbers. They are drawn on the CPU, a few a photo, so that a
seed means the same on every device.
"""

import math

import torch
import torch.nn.functional as F

from stages.params import Augment

# Of ImageNet's RGB, which pretrained backbones expect and others do well with.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
GREY = (0.299, 0.587, 0.114)  # luma of ITU-R BT.601, as Pillow and torchvision weigh it


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
    return _normalise(images.float() / 255, mean, std)


def augment(images: torch.Tensor, params: Augment, generator: torch.Generator) -> torch.Tensor:
    """uint8 (n, 3, h, w) → normalised float32, cropped, flipped, moved and recoloured at random.

    Args:
        generator: on the CPU; the only source of chance.
    """
    if params.crop is not None:
        images = random_crop(images, params.crop, generator)
    for probability, axis in ((params.horizontal_flip, 3), (params.vertical_flip, 2)):
        if probability:
            flipped = torch.rand(len(images), generator=generator) < probability
            images = torch.where(_each(flipped, images), images.flip(axis), images)
    pixels = images.float() / 255
    if params.rotation or params.scale or params.shift:
        pixels = random_affine(pixels, params.rotation, params.scale, params.shift, generator)
    if params.brightness or params.contrast or params.saturation:
        pixels = colour_jitter(
            pixels, params.brightness, params.contrast, params.saturation, generator
        )
    return _normalise(pixels)


def random_crop(images: torch.Tensor, size: int, generator: torch.Generator) -> torch.Tensor:
    """(n, 3, h, w) → (n, 3, size, size), each from a place of its own."""
    count, _, height, width = images.shape
    top = torch.randint(height - size + 1, (count,), generator=generator)
    left = torch.randint(width - size + 1, (count,), generator=generator)
    span = torch.arange(size)
    rows = (top[:, None] + span).to(images.device)[:, :, None]
    columns = (left[:, None] + span).to(images.device)[:, None, :]
    photo = torch.arange(count, device=images.device)[:, None, None]
    # Indexed with the channels last, as they lie in memory.
    return images.permute(0, 2, 3, 1)[photo, rows, columns].permute(0, 3, 1, 2)


def random_affine(
    images: torch.Tensor,
    degrees: float,
    scale: float,
    shift: float,
    generator: torch.Generator,
) -> torch.Tensor:
    """Rotates by up to ``degrees``, scales by up to 1 ± ``scale``, shifts by up to ``shift`` sides.

    Float (n, 3, h, w), any range. Bilinear; what comes from outside repeats the edge.
    """
    count, _, height, width = images.shape
    angle, factor, right, down = torch.empty(4, count).uniform_(-1, 1, generator=generator)
    angle, factor = angle * math.radians(degrees), 1 + factor * scale
    cos, sin = torch.cos(angle) / factor, torch.sin(angle) / factor
    # Where each output pixel comes from, in coordinates of -1 to 1 along both sides.
    aspect = height / width
    matrix = torch.stack(
        [
            torch.stack([cos, sin * aspect, -2 * shift * right], dim=1),
            torch.stack([-sin / aspect, cos, -2 * shift * down], dim=1),
        ],
        dim=1,
    ).to(images.device)
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def colour_jitter(
    images: torch.Tensor,
    brightness: float,
    contrast: float,
    saturation: float,
    generator: torch.Generator,
) -> torch.Tensor:
    """torchvision's ``ColorJitter`` without hue, in the order of the arguments.

    Float (n, 3, h, w) in [0, 1]. Each strength ``s`` draws a factor of 1 ± ``s``.
    """
    weights = torch.tensor(GREY, device=images.device)[None, :, None, None]
    factors = 1 + torch.empty(3, len(images)).uniform_(-1, 1, generator=generator) * torch.tensor(
        [[brightness], [contrast], [saturation]]
    )
    by_brightness, by_contrast, by_saturation = (_each(factor, images) for factor in factors)
    if brightness:
        images = (images * by_brightness).clamp(0, 1)
    if contrast:
        mean = (images * weights).sum(dim=1, keepdim=True).mean(dim=(2, 3), keepdim=True)
        images = torch.lerp(mean, images, by_contrast).clamp(0, 1)
    if saturation:
        grey = (images * weights).sum(dim=1, keepdim=True)
        images = torch.lerp(grey, images, by_saturation).clamp(0, 1)
    return images


def _each(values: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """One value a photo, (n,) → (n, 1, 1, 1) on the photos' device."""
    return values.to(images.device, non_blocking=True)[:, None, None, None]


def _normalise(
    pixels: torch.Tensor, mean: tuple[float, ...] = MEAN, std: tuple[float, ...] = STD
) -> torch.Tensor:
    shift, scale = (torch.tensor(v, device=pixels.device)[None, :, None, None] for v in (mean, std))
    return (pixels - shift) / scale

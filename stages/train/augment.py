"""Photos as they are stored → what a network sees, whole batches at once on their device.

Each photo of a batch draws its own numbers. They are drawn on the CPU, a few a photo, so that a
seed means the same on every device. What is off draws none.
"""

import math

import torch

from stages.params import Augment
from stages.train import transforms
from stages.train.randaugment import randaugment, sample_operations

# Of ImageNet's RGB, which pretrained backbones expect and others do well with.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
TRIES = 10  # at a box of a drawn area and aspect that fits, as torchvision


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
    """uint8 (n, 3, h, w) → normalised float32, cropped, moved and recoloured at random.

    In the order of ``Augment``'s options; cutout is last, so that it blanks to the mean.

    Args:
        generator: on the CPU; the only source of chance.

    Returns:
        (n, 3, crop, crop), or of the stored size without ``crop``; in channels-last memory.
    """
    pixels = _geometry(images, params, generator)
    pixels = _colour(pixels, params, generator)
    if params.randaugment:
        operations, signs = sample_operations(len(pixels), params.randaugment, generator)
        pixels = randaugment(pixels, operations, signs, params.magnitude)
    pixels = _normalise(pixels)
    if params.cutout:
        height, width = pixels.shape[2:]
        centres = sample_places(len(pixels), height, width, generator)
        size = max(1, round(params.cutout * min(height, width)))
        pixels = transforms.cutout(pixels, centres, size)
    return pixels.contiguous(memory_format=torch.channels_last)


def _geometry(images: torch.Tensor, params: Augment, generator: torch.Generator) -> torch.Tensor:
    """uint8 → float32 in [0, 1]."""
    count, _, height, width = images.shape
    if params.resized_crop is not None:
        size = (height, width) if params.crop is None else (params.crop, params.crop)
        boxes = sample_boxes(count, height, width, params.resized_crop, params.aspect, generator)
        images = transforms.resized_crop(images, boxes, size)
    elif params.crop is not None:
        tops, lefts = sample_places(
            count, height - params.crop + 1, width - params.crop + 1, generator
        ).T
        images = transforms.crop(images, tops, lefts, params.crop)
    for probability, axis in ((params.horizontal_flip, 3), (params.vertical_flip, 2)):
        if probability:
            images = transforms.flip(images, sample_events(count, probability, generator), axis)
    pixels = images.float() / 255
    if params.rotation or params.scale or params.shift:
        turns, factors, rights, downs = sample_either_way(4, count, generator)
        height, width = pixels.shape[2:]
        # Black corners would tell the angle and the shift: what is outside repeats the edge.
        pixels = transforms.affine(
            pixels,
            turns * params.rotation,
            1 + factors * params.scale,
            rights * params.shift * width,
            downs * params.shift * height,
            outside="border",
        )
    return pixels


def _colour(pixels: torch.Tensor, params: Augment, generator: torch.Generator) -> torch.Tensor:
    """torchvision's ``ColorJitter``, always in this order, and ``RandomGrayscale``."""
    strengths = (params.brightness, params.contrast, params.saturation)
    if any(strengths):
        draws = sample_either_way(3, len(pixels), generator)
        adjusters = (
            transforms.adjust_brightness,
            transforms.adjust_contrast,
            transforms.adjust_saturation,
        )
        for adjust, strength, draw in zip(adjusters, strengths, draws, strict=True):
            if strength:
                pixels = adjust(pixels, 1 + draw * strength)
    if params.hue:
        (turns,) = sample_either_way(1, len(pixels), generator)
        pixels = transforms.adjust_hue(pixels, turns * params.hue)
    if params.grey:
        pixels = transforms.grayscale(pixels, sample_events(len(pixels), params.grey, generator))
    return pixels


def sample_either_way(numbers: int, photos: int, generator: torch.Generator) -> torch.Tensor:
    """Float32 (numbers, photos), uniform from -1 to 1."""
    return torch.empty(numbers, photos).uniform_(-1, 1, generator=generator)


def sample_events(photos: int, probability: float, generator: torch.Generator) -> torch.Tensor:
    """Bool (photos,)."""
    return torch.rand(photos, generator=generator) < probability


def sample_places(photos: int, rows: int, columns: int, generator: torch.Generator) -> torch.Tensor:
    """int64 (photos, 2), any row and column with the same probability."""
    drawn = [torch.randint(side, (photos,), generator=generator) for side in (rows, columns)]
    return torch.stack(drawn, dim=1)


def sample_boxes(
    photos: int,
    height: int,
    width: int,
    area: tuple[float, float],
    aspect: tuple[float, float],
    generator: torch.Generator,
) -> torch.Tensor:
    """Boxes as torchvision's ``RandomResizedCrop`` draws them (Szegedy et al. 2015).

    Args:
        area: from and to, fractions of that of the photo; uniform.
        aspect: from and to, width by height; its logarithm is uniform. A photo with
            no luck in ``TRIES`` shows its middle, all of it that ``aspect`` allows.

    Returns:
        int64 (photos, 4): top, left, height and width.
    """
    areas = torch.empty(TRIES, photos).uniform_(*area, generator=generator) * height * width
    aspects = torch.empty(TRIES, photos).uniform_(*map(math.log, aspect), generator=generator).exp()
    heights, widths = (areas / aspects).sqrt().round(), (areas * aspects).sqrt().round()
    fits = (heights > 0) & (heights <= height) & (widths > 0) & (widths <= width)
    first = fits.int().argmax(dim=0, keepdim=True)
    heights, widths = (sides.gather(0, first)[0].long() for sides in (heights, widths))
    places = torch.rand(2, photos, dtype=torch.float64, generator=generator)
    boxes = torch.stack(
        [
            (places[0] * (height - heights + 1)).long(),
            (places[1] * (width - widths + 1)).long(),
            heights,
            widths,
        ],
        dim=1,
    )
    return torch.where(fits.any(dim=0)[:, None], boxes, _middle(height, width, aspect))


def _middle(height: int, width: int, aspect: tuple[float, float]) -> torch.Tensor:
    """The largest box of an allowed aspect, int64 (4,)."""
    box_height = min(height, round(width / aspect[0]))
    box_width = min(width, round(height * aspect[1]))
    top, left = (height - box_height) // 2, (width - box_width) // 2
    return torch.tensor([top, left, box_height, box_width])


def _normalise(
    pixels: torch.Tensor, mean: tuple[float, ...] = MEAN, std: tuple[float, ...] = STD
) -> torch.Tensor:
    shift, scale = (
        torch.tensor(v).to(pixels.device, non_blocking=True)[:, None, None] for v in (mean, std)
    )
    return (pixels - shift) / scale

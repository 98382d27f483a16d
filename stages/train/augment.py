"""Photos as they are stored → what a network sees, whole batches at once on their device.

Each photo of a batch draws its own numbers. They are drawn on the CPU, a few a photo, so that a
seed means the same on every device. What is off draws none.
"""

import math
from collections.abc import Callable, Iterator
from functools import partial

import torch

from stages.network.batches import Shard
from stages.network.description import MEAN, STD
from stages.network.preprocess import normalise
from stages.train import transforms
from stages.train.params import Augment
from stages.train.randaugment import randaugment, sample_operations

TRIES = 10  # at a box of a drawn area and aspect that fits, as torchvision
# Changed at once by each core of a CPU: few enough to stay in its cache from change to change.
PHOTOS_A_CORE = 2

# What changes photos, and the numbers it was drawn, a row a photo.
Change = tuple[Callable[..., torch.Tensor], tuple[torch.Tensor, ...]]


def augment(
    images: torch.Tensor,
    params: Augment,
    generator: torch.Generator,
    shard: Shard | None = None,
    mean: tuple[float, ...] = MEAN,
    std: tuple[float, ...] = STD,
) -> torch.Tensor:
    """uint8 (n, 3, h, w) → normalised float32, cropped, moved and recoloured at random.

    In the order of ``Augment``'s options; cutout is last, so that it blanks to the mean.

    Args:
        generator: on the CPU; all numbers are drawn from it.
        shard: which rows of a batch that several devices share ``images`` are; None: all of it.
            Numbers are drawn for the whole batch, so that a photo draws the same on any number of
            devices.
        mean, std: of the normalisation, as in ``Description``.

    Returns:
        (n, 3, crop, crop), or of the stored size without ``crop``; in channels-last memory.
    """
    count, _, height, width = images.shape
    shard = shard or Shard.all(count)
    sides = (height, width) if params.crop is None else (params.crop, params.crop)
    changes = [
        *_geometry(shard.whole, (height, width), sides, params, generator),
        *_colour(shard.whole, params, generator),
        *_regularise(shard.whole, sides, params, generator, partial(normalise, mean=mean, std=std)),
    ]
    augmented = torch.empty(
        (count, 3, *sides), device=images.device, memory_format=torch.channels_last
    )
    at_once = PHOTOS_A_CORE * torch.get_num_threads() if images.device.type == "cpu" else count
    for start in range(0, count, at_once):
        part = slice(start, start + at_once)
        pixels = images[part]
        for change, numbers in changes:
            pixels = change(pixels, *(drawn[shard.rows][part] for drawn in numbers))
        augmented[part] = pixels
    return augmented


def _geometry(
    count: int,
    stored: tuple[int, int],
    sides: tuple[int, int],
    params: Augment,
    generator: torch.Generator,
) -> Iterator[Change]:
    """uint8 of the size ``stored`` → float32 of the size ``sides`` in [0, 1]."""
    places, held = torch.zeros(count, 2, dtype=torch.int64), stored
    if params.resized_crop is not None:
        boxes = sample_boxes(count, *stored, params.resized_crop, params.aspect, generator)
        yield partial(transforms.resized_crop, size=sides), (boxes,)
        held = sides
    elif params.crop is not None:
        rows, columns = (side - params.crop + 1 for side in stored)
        places = sample_places(count, rows, columns, generator)
    mirrored, upturned = (
        sample_events(count, probability, generator) if probability else torch.zeros(count).bool()
        for probability in (params.horizontal_flip, params.vertical_flip)
    )
    if params.rotation or params.scale or params.shift:
        turns, factors, rights, downs = sample_either_way(4, count, generator)
        matrices = transforms.affine_matrices(
            turns * params.rotation,
            1 + factors * params.scale,
            rights * params.shift * sides[1],
            downs * params.shift * sides[0],
        )
        # Crops and flips cost nothing here, and what is outside of a crop may be in the photo.
        # Beyond the photo its edge repeats: black corners would tell the angle and the shift.
        matrices = transforms.crop_flip_first(matrices, places, mirrored, upturned, held, sides)
        yield partial(transforms.sample, size=sides, outside="border"), (matrices,)
    else:
        yield partial(transforms.crop_flip, size=sides), (places, mirrored, upturned)
    yield _scale, ()


def _scale(images: torch.Tensor) -> torch.Tensor:
    """0 to 255 → float32 in [0, 1], channels contiguous: what follows goes through one by one."""
    return images.to(torch.float32, memory_format=torch.contiguous_format) / 255


def _colour(count: int, params: Augment, generator: torch.Generator) -> Iterator[Change]:
    """torchvision's ``ColorJitter``, always in this order, and ``RandomGrayscale``."""
    strengths = (params.brightness, params.contrast, params.saturation)
    if any(strengths):
        draws = sample_either_way(3, count, generator)
        adjusters = (
            transforms.adjust_brightness,
            transforms.adjust_contrast,
            transforms.adjust_saturation,
        )
        for adjust, strength, draw in zip(adjusters, strengths, draws, strict=True):
            if strength:
                yield adjust, (1 + draw * strength,)
    if params.hue:
        (turns,) = sample_either_way(1, count, generator)
        yield transforms.adjust_hue, (turns * params.hue,)
    if params.grey:
        yield transforms.grayscale, (sample_events(count, params.grey, generator),)


def _regularise(
    count: int,
    sides: tuple[int, int],
    params: Augment,
    generator: torch.Generator,
    normalisation: Callable[[torch.Tensor], torch.Tensor],
) -> Iterator[Change]:
    """RandAugment, normalisation and cutout, which blanks to the mean."""
    if params.randaugment:
        drawn = sample_operations(count, params.randaugment, generator)
        yield partial(_randaugment, magnitude=params.magnitude), tuple(each.T for each in drawn)
    yield normalisation, ()
    if params.cutout:
        size = max(1, round(params.cutout * min(sides)))
        yield partial(transforms.cutout, size=size), (sample_places(count, *sides, generator),)


def _randaugment(
    pixels: torch.Tensor, operations: torch.Tensor, signs: torch.Tensor, magnitude: int
) -> torch.Tensor:
    """``randaugment`` with a row of operations and signs a photo, (n, number)."""
    return randaugment(pixels, operations.T, signs.T, magnitude)


def sample_either_way(numbers: int, photos: int, generator: torch.Generator) -> torch.Tensor:
    """Float32 (numbers, photos), uniform from -1 to 1."""
    return torch.empty(numbers, photos).uniform_(-1, 1, generator=generator)


def sample_events(photos: int, probability: float, generator: torch.Generator) -> torch.Tensor:
    """Bool (photos,), each true with ``probability``."""
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

"""What can be done to the photos of a batch, all at once; nothing here is random.

Pixels are float32 (n, 3, h, w) in [0, 1], on any device; numbers are a value a photo, (n,), on the
CPU, where they were drawn. Each photo comes out as torchvision's transform of that name makes it.
"""

from collections.abc import Iterable

import torch
import torch.nn.functional as F

GREY = (0.299, 0.587, 0.114)  # luma of ITU-R BT.601, as Pillow weighs it
TINY = 1e-8  # less than any chroma that eight bits, interpolated, can give a colour


def crop_flip(
    images: torch.Tensor,
    places: torch.Tensor,
    mirrored: torch.Tensor,
    upturned: torch.Tensor,
    size: tuple[int, int],
) -> torch.Tensor:
    """Crops, and flips left to right and upside down.

    Args:
        images: (n, 3, h, w) of any type.
        places: int (n, 2): top and left of each crop.
        mirrored, upturned: bool (n,).
        size: height and width of the crops.
    """
    if size == images.shape[2:] and not (mirrored.any() or upturned.any()):
        return images
    # With the channels last, as they lie in memory, a row of pixels is one piece to copy; a single
    # indexing of all photos would look up each number on its own.
    changed = [
        photo[top : top + size[0], left : left + size[1]].flip(
            [axis for axis, is_flipped in ((0, up), (1, mirror)) if is_flipped]
        )
        for photo, (top, left), mirror, up in zip(
            images.permute(0, 2, 3, 1),
            places.tolist(),
            mirrored.tolist(),
            upturned.tolist(),
            strict=True,
        )
    ]
    return torch.stack(changed).permute(0, 3, 1, 2)


def resize(images: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Brings photos to a height and width: bilinear, antialiased, rounded to whole values.

    So torchvision does it with photos of 8 bits. On CPUs that is done in integers, several times as
    fast as in floats; on GPUs it is done in floats, and rounded.

    Args:
        images: (n, 3, h, w), uint8 or whole values of 0 to 255.

    Returns:
        (n, 3, *size) in channels-last memory, whole values: uint8, float32 from a GPU.
    """
    # In channels-last memory, and in one piece where it is a box of a photo: twice as fast.
    pixels = images.contiguous(memory_format=torch.channels_last)
    if pixels.device.type != "cpu":
        pixels = pixels.float()
    resized = F.interpolate(pixels, size, mode="bilinear", antialias=True)
    return resized if resized.dtype == torch.uint8 else resized.round_()


def resized_crop(images: torch.Tensor, boxes: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Brings each photo's own box to one size, as ``resize`` does.

    Args:
        images: as for ``resize``.
        boxes: int (n, 4): top, left, height and width of each, in pixels.
        size: height and width of what comes out.
    """
    resized = [
        resize(photo[None, :, top : top + height, left : left + width], size)
        for photo, (top, left, height, width) in zip(images, boxes.tolist(), strict=True)
    ]
    return torch.cat(resized)


def affine(
    pixels: torch.Tensor,
    degrees: torch.Tensor,
    scales: torch.Tensor,
    rights: torch.Tensor,
    downs: torch.Tensor,
) -> torch.Tensor:
    """Turns clockwise and scales about the centre, then shifts; bilinear, black from outside.

    Args:
        rights, downs: how far it is shifted, in pixels.
    """
    matrices = affine_matrices(degrees, scales, rights, downs)
    return sample(pixels, matrices, (pixels.shape[2], pixels.shape[3]))


def affine_matrices(
    degrees: torch.Tensor, scales: torch.Tensor, rights: torch.Tensor, downs: torch.Tensor
) -> torch.Tensor:
    """The matrices, float32 (n, 2, 3), with which ``sample`` does what ``affine`` does."""
    angles = torch.deg2rad(degrees)
    cos, sin = torch.cos(angles) / scales, torch.sin(angles) / scales
    columns = [cos, sin, -cos * rights - sin * downs]
    rows = [-sin, cos, sin * rights - cos * downs]
    return torch.stack([*columns, *rows], dim=1).view(-1, 2, 3)


def crop_flip_first(
    matrices: torch.Tensor,
    places: torch.Tensor,
    mirrored: torch.Tensor,
    upturned: torch.Tensor,
    stored: tuple[int, int],
    size: tuple[int, int],
) -> torch.Tensor:
    """Matrices with which ``sample`` does as ``crop_flip`` does and then what ``matrices`` do.

    Args:
        matrices: float32 (n, 2, 3).
        places, mirrored, upturned, size: as those of ``crop_flip``.
        stored: height and width of the photos.
    """
    moved = matrices * (1 - 2 * torch.stack([mirrored, upturned], dim=1).float())[:, :, None]
    # From the crop's centre to the photo's.
    moved[:, :, 2] += (places + (torch.tensor(size) - torch.tensor(stored)) / 2).flip(1)
    return moved


def shear(pixels: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Moves each row left by ``rows`` of its distance from the top, each column up likewise."""
    height, width = pixels.shape[2:]
    one = torch.ones_like(rows)
    numbers = [one, rows, rows * height / 2, columns, one, columns * width / 2]
    return sample(pixels, torch.stack(numbers, dim=1).view(-1, 2, 3), (height, width))


def sample(
    images: torch.Tensor, matrices: torch.Tensor, size: tuple[int, int], outside: str = "zeros"
) -> torch.Tensor:
    """Takes each pixel from where its photo's matrix sends it; bilinear.

    Args:
        images: (n, 3, h, w), uint8 or float of any range.
        matrices: float32 (n, 2, 3): what of right, down and 1, in pixels from the centre of what
            comes out, makes up the column, then the row, in pixels from the centre of the photo.
        size: height and width of what comes out.
        outside: what comes from there is black (``zeros``) or repeats the edge (``border``).

    Returns:
        float32 (n, 3, *size), in the range of ``images``.
    """
    # grid_sample counts from -1 to 1 along both sides of what it takes from.
    height, width = images.shape[2:]
    units = torch.tensor([2 / width, 2 / height])[:, None]
    theta = _beside(images, matrices * units)[:, :, :, None, None]
    down, right = (_from_centre(side, images.device) for side in size)
    # As F.affine_grid, but one sum a pixel, and columns and rows apart, instead of a product of
    # matrices: on a CPU that takes longer than the sampling.
    grid = theta[:, :, 0] * right + (theta[:, :, 1] * down[:, None] + theta[:, :, 2])
    pixels = images.to(torch.float32, memory_format=torch.contiguous_format)
    return F.grid_sample(
        pixels, grid.permute(0, 2, 3, 1), padding_mode=outside, align_corners=False
    )


def _from_centre(pixels: int, device: torch.device) -> torch.Tensor:
    """How far the middles of so many pixels in a row are from that of all."""
    return torch.arange(pixels, device=device) - (pixels - 1) / 2


def adjust_brightness(pixels: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """1 leaves a photo as it is, 0 makes it black."""
    return (pixels * _each(pixels, factors)).clamp_(0, 1)


def adjust_contrast(pixels: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """1 leaves a photo as it is, 0 makes it all of its mean grey."""
    return _blend(_luma(pixels.mean(dim=(2, 3), keepdim=True)), pixels, factors)


def adjust_saturation(pixels: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """1 leaves a photo as it is, 0 takes its colour."""
    return _blend(_luma(pixels), pixels, factors)


def adjust_sharpness(pixels: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """1 leaves a photo as it is, 0 smooths it; the outermost pixels stay, as in Pillow."""
    blurred, inner = pixels.clone(), (..., slice(1, -1), slice(1, -1))
    # A mean of 3 × 3 pixels, of which the middle one counts five times.
    blurred[inner] = (9 * F.avg_pool2d(pixels, 3, stride=1) + 4 * pixels[inner]) / 13
    return _blend(blurred, pixels, factors)


def adjust_hue(pixels: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
    """Turns the hue, as HSV has it, by so many full circles."""
    red, green, blue = pixels.split(1, dim=1)
    value = torch.maximum(torch.maximum(red, green), blue)
    chroma = value - torch.minimum(torch.minimum(red, green), blue)
    divisor = chroma.clamp(min=TINY)  # without colour, the hue is of no matter
    # The hue, in sixths of the circle from red: which way it lies is the sign of ``beside``, how
    # far follows from both; no pixel asks which channel is the highest, as where() would.
    below, beside = (value - red).div_(divisor), (green - blue).div_(divisor)
    hue = torch.copysign(3 * below, beside)
    hue = hue.add_(beside.addcmul_(beside, below, value=-2)).add_(_each(pixels, 6 * turns))
    hue = hue.sub_((hue / 6).round_().mul_(6))  # from -3 to 3
    # A channel is the lower below the value the farther the hue is from the channel's own: up to
    # one sixth not at all, from two on by all of the chroma. Written as 3 less the way round.
    away = hue - torch.tensor([0, 2, -2], device=pixels.device).view(3, 1, 1)
    away = away.abs_().sub_(3).abs_().clamp_(1, 2)
    return away.mul_(chroma).add_(value.sub_(chroma, alpha=2))


def grayscale(pixels: torch.Tensor, greyed: torch.Tensor) -> torch.Tensor:
    """Takes the colour of those photos for which ``greyed`` is true."""
    if not greyed.any():  # known on the CPU: no GPU is waited for
        return pixels
    places = _beside(pixels, greyed.nonzero()[:, 0])
    return pixels.index_copy(0, places, _luma(pixels[places]).expand(-1, 3, -1, -1))


def posterize(pixels: torch.Tensor, bits: torch.Tensor) -> torch.Tensor:
    """Keeps the highest ``bits`` of the eight of each value."""
    steps = _each(pixels, 2 ** (8 - bits))
    return (_levels(pixels) / steps).floor() * steps / 255


def solarize(pixels: torch.Tensor, thresholds: torch.Tensor) -> torch.Tensor:
    """Inverts what is at ``thresholds``, of 0 to 255, or above."""
    return torch.where(_levels(pixels) >= _each(pixels, thresholds), 1 - pixels, pixels)


def autocontrast(pixels: torch.Tensor) -> torch.Tensor:
    """Stretches each channel over the whole range, if it has more than one value."""
    levels = _levels(pixels)  # interpolation left a channel of one value with noise: not stretched
    low, high = levels.amin(dim=(2, 3), keepdim=True), levels.amax(dim=(2, 3), keepdim=True)
    return torch.where(high > low, (levels - low) / (high - low), pixels)


def equalize(pixels: torch.Tensor) -> torch.Tensor:
    """Makes the values of each channel equally frequent, as far as that goes."""
    # Imported here: it takes as long as torch itself.
    from torchvision.transforms.v2 import functional

    return functional.equalize(_levels(pixels).to(torch.uint8)).float() / 255


def cutout(pixels: torch.Tensor, centres: torch.Tensor, size: int) -> torch.Tensor:
    """Sets a square of each photo to 0, less what of it is outside (DeVries & Taylor 2017).

    Args:
        pixels: of any range.
        centres: int (n, 2), row and column of the middle of each square.
        size: its side in pixels.
    """
    starts = _beside(pixels, centres - size // 2)
    places = [
        torch.arange(side, device=pixels.device) - starts[:, i : i + 1]
        for i, side in enumerate(pixels.shape[2:])
    ]
    rows, columns = ((place >= 0) & (place < size) for place in places)
    return pixels.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], 0)


def blend(
    pixels: torch.Tensor,
    others: Iterable[torch.Tensor],
    boxes: torch.Tensor,
    weights: torch.Tensor,
) -> torch.Tensor:
    """Lets another photo shine through in a box of each; outside, each stays as it is.

    Args:
        pixels: of any range.
        others: (3, h, w) each.
        boxes: int (n, 4): top, left, and below and right of the last row and column.
        weights: of the photo itself in its box, 0 to 1, the other one's being the rest of 1.
    """
    blended = pixels.clone()
    # Photo by photo: so what lies outside of the boxes costs no more than to be copied.
    for photo, other, (top, left, bottom, right), weight in zip(
        blended, others, boxes.tolist(), weights.tolist(), strict=True
    ):
        if weight < 1:
            box = (slice(None), slice(top, bottom), slice(left, right))
            photo[box].mul_(weight).add_(other[box], alpha=1 - weight)
    return blended


def _luma(pixels: torch.Tensor) -> torch.Tensor:
    """(n, 3, h, w) → (n, 1, h, w)."""
    red, green, blue = pixels.split(1, dim=1)
    return (red * GREY[0]).add_(green, alpha=GREY[1]).add_(blue, alpha=GREY[2])


def _levels(pixels: torch.Tensor) -> torch.Tensor:
    """The nearest of the values of 0 to 255 that photos are stored with."""
    return (pixels * 255).round()


def _blend(without: torch.Tensor, pixels: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """Factor 0 gives ``without``, 1 the photo, more leads further that way; cut to [0, 1]."""
    # Not torch.lerp, which takes one number at a time where two of its three sides are broadcast.
    factors = _each(pixels, factors)
    return (pixels * factors).add_(without * (1 - factors)).clamp_(0, 1)


def _each(images: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """(n,) → (n, 1, 1, 1), beside the photos."""
    return _beside(images, values)[:, None, None, None]


def _beside(images: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """``values`` on the photos' device, without waiting for it."""
    return values.to(images.device, non_blocking=True)

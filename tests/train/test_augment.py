"""Augmentation against torchvision's own transforms on the same draw, photo by photo."""

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import chisquare, ks_2samp, kstest
from torchvision.transforms import RandomResizedCrop, autoaugment
from torchvision.transforms.v2 import InterpolationMode, functional

from stages.network.batches import Shard
from stages.network.description import MEAN, STD
from stages.network.preprocess import prepare
from stages.train import transforms
from stages.train.augment import (
    augment,
    sample_boxes,
    sample_either_way,
    sample_events,
    sample_places,
)
from stages.train.params import Augment
from stages.train.randaugment import OPERATIONS, STRONGEST, randaugment, sample_operations

NOTHING: dict[str, Any] = {
    "crop": None,
    "resized_crop": None,
    "aspect": (0.75, 1.3333),
    "horizontal_flip": 0,
    "vertical_flip": 0,
    "rotation": 0,
    "scale": 0,
    "shift": 0,
    "brightness": 0,
    "contrast": 0,
    "saturation": 0,
    "hue": 0,
    "grey": 0,
    "randaugment": 0,
    "magnitude": 9,
    "cutout": 0,
    "mixup": 0,
    "cutmix": 0,
    "mixed": 0.5,
}
EVERYTHING = NOTHING | {
    "crop": 24,
    "resized_crop": (0.2, 1),
    "horizontal_flip": 0.5,
    "vertical_flip": 0.5,
    "rotation": 20,
    "scale": 0.2,
    "shift": 0.1,
    "brightness": 0.3,
    "contrast": 0.3,
    "saturation": 0.3,
    "hue": 0.2,
    "grey": 0.3,
    "randaugment": 2,
    "cutout": 0.3,
}
LEVEL = 1 / 255  # between two neighbours of the values that photos are stored with
# torchvision weighs red by 0.2989 instead of 0.299; where that counts, results differ by so much.
LUMA = 2e-4
SIZES = [(36, 36), (28, 45)]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def photos(count: int = 6, height: int = 36, width: int = 36) -> torch.Tensor:
    """uint8, smooth but for an edge, in channels-last memory; the first is dull, the last grey."""
    coarse = torch.rand(count, 3, 6, 6, generator=generator(9)) * 1.6 - 0.3
    smooth = F.interpolate(coarse, (height, width), mode="bicubic")
    smooth[:, :, height // 2 :, width // 3 :] *= 0.5
    smooth[0] = 0.3 + 0.4 * smooth[0].clamp(0, 1)
    smooth[-1] = smooth[-1, :1]
    return (
        (smooth * 255)
        .clamp(0, 255)
        .round()
        .to(torch.uint8)
        .contiguous(memory_format=torch.channels_last)
    )


def factors(count: int, strength: float = 0.5) -> torch.Tensor:
    return 1 + strength * sample_either_way(1, count, generator(2))[0]


def close(ours: torch.Tensor, expected: torch.Tensor, tolerance: float) -> bool:
    return torch.allclose(ours, expected, rtol=0, atol=tolerance)


def test_preparing_is_the_centre_normalised():
    images = photos()
    expected = functional.normalize(
        functional.center_crop(images, [12, 12]).float() / 255, list(MEAN), list(STD)
    )
    assert close(prepare(images, 12), expected, 1e-6)
    assert prepare(images, None).shape == images.shape


def test_no_augmentation_is_preparing_and_draws_nothing():
    images, unused = photos(), generator()
    assert torch.equal(augment(images, Augment(**NOTHING), unused), prepare(images, None))
    assert torch.equal(unused.get_state(), generator().get_state())


def test_each_photo_is_cropped_from_a_place_of_its_own():
    images = photos(12)
    cropped = augment(images, Augment(**NOTHING | {"crop": 30}), generator())
    places = []
    for photo, crop in zip(images, cropped, strict=True):
        matches = [
            (top, left)
            for top in range(7)
            for left in range(7)
            if torch.equal(crop, prepare(photo[None, :, top : top + 30, left : left + 30], None)[0])
        ]
        assert len(matches) == 1
        places += matches
    assert len(set(places)) > 6


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("size", [(12, 12), (28, 20), (64, 64)])
def test_resized_crop_is_torchvisions(height: int, width: int, size: tuple[int, int]):
    images = photos(8, height, width)
    boxes = sample_boxes(8, height, width, (0.08, 1), (0.5, 2), generator())
    ours = transforms.resized_crop(images, boxes, size)
    for photo, box, resized in zip(images, boxes.tolist(), ours, strict=True):
        assert torch.equal(resized, functional.resized_crop(photo, *box, size=list(size)))
        # In floats, each of both sides would be rounded by no more than half a level.
        exact = functional.resized_crop(photo.float(), *box, size=list(size), antialias=True)
        assert close(resized.float(), exact, 1.001)
    whole = torch.tensor([[0, 0, height, width]] * 8)
    assert torch.equal(transforms.resized_crop(images, whole, (height, width)), images)


def test_resized_crop_brings_photos_to_the_size_of_crop():
    images = photos(8)
    options = {"resized_crop": (0.08, 1), "crop": 24}
    ours = augment(images, Augment(**NOTHING | options), generator())
    boxes = sample_boxes(8, 36, 36, (0.08, 1), (0.75, 1.3333), generator())
    expected = transforms.resized_crop(images, boxes, (24, 24))
    assert close(ours, prepare(expected, None), 1e-6)
    stored = augment(images, Augment(**NOTHING | options | {"crop": None}), generator())
    assert stored.shape == images.shape


@pytest.mark.parametrize(
    ("height", "width", "area", "aspect"),
    [
        (64, 64, (0.08, 1.0), (3 / 4, 4 / 3)),  # of S4 and of ImageNet's recipes
        (40, 96, (0.3, 1.0), (3 / 4, 4 / 3)),  # large boxes do not fit: the middle, often
        (80, 50, (0.5, 0.9), (0.5, 2.0)),
    ],
)
def test_boxes_are_drawn_as_torchvision_draws_them(
    height: int, width: int, area: tuple[float, float], aspect: tuple[float, float]
):
    ours = sample_boxes(2000, height, width, area, aspect, generator()).numpy()
    photo = torch.empty(3, height, width)
    torch.manual_seed(1)
    theirs = np.array([RandomResizedCrop.get_params(photo, area, aspect) for _ in range(2000)])
    for column in range(4):
        assert ks_2samp(ours[:, column], theirs[:, column]).pvalue > 0.01
    tops, lefts, heights, widths = ours.T
    assert (ours >= 0).all()
    assert (heights > 0).all() and (widths > 0).all()
    assert (tops + heights <= height).all() and (lefts + widths <= width).all()


def test_areas_of_boxes_are_uniform_and_the_logarithms_of_their_aspects():
    boxes = sample_boxes(2000, 1000, 1000, (0.1, 0.4), (0.5, 2), generator()).double()
    heights, widths = boxes[:, 2], boxes[:, 3]
    assert kstest(heights * widths / 1e6, "uniform", (0.1, 0.3)).pvalue > 0.01
    logarithms = (widths / heights).log() / math.log(2)
    assert kstest(logarithms, "uniform", (-1, 2)).pvalue > 0.01
    for places, sides in ((boxes[:, 0], heights), (boxes[:, 1], widths)):
        assert kstest((places / (1000 - sides + 1)), "uniform").pvalue > 0.01


@pytest.mark.parametrize(("height", "width"), [(32, 32), (20, 64), (64, 20)])
def test_a_photo_without_a_box_that_fits_shows_its_middle(height: int, width: int):
    # A box of all of the area fits in none of these tries, as no aspect is drawn exactly.
    area, aspect = (1.0, 1.0), (1.5, 2.0)
    expected = RandomResizedCrop.get_params(torch.empty(3, height, width), area, aspect)
    ours = sample_boxes(20, height, width, area, aspect, generator())
    assert ours.tolist() == [list(expected)] * 20


@pytest.mark.parametrize(("key", "axis"), [("horizontal_flip", 3), ("vertical_flip", 2)])
def test_flips(key: str, axis: int):
    images = photos(64)
    always = augment(images, Augment(**NOTHING | {key: 1}), generator())
    assert torch.equal(always, prepare(images.flip(axis), None))
    sometimes = augment(images, Augment(**NOTHING | {key: 0.5}), generator())
    flipped = (sometimes == always).flatten(1).all(dim=1)
    kept = (sometimes == prepare(images, None)).flatten(1).all(dim=1)
    assert (flipped ^ kept).all()
    assert 16 < flipped.sum() < 48


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_affine_is_torchvisions(height: int, width: int):
    pixels = photos(6, height, width).float() / 255
    turns, scales, rights, downs = sample_either_way(4, 6, generator())
    # torchvision shifts by whole pixels.
    draw = (40 * turns, 1 + 0.4 * scales, (9 * rights).round(), (9 * downs).round())
    black = transforms.affine(pixels, *draw)
    edge = transforms.sample(
        pixels, transforms.affine_matrices(*draw), (height, width), outside="border"
    )
    for i, (angle, scale, right, down) in enumerate(torch.stack(draw, dim=1).tolist()):
        expected, inside = (
            functional.affine(
                image,
                angle=angle,
                translate=[right, down],
                scale=scale,
                shear=[0.0, 0.0],
                interpolation=InterpolationMode.BILINEAR,
            )
            for image in (pixels[i], torch.ones(3, height, width))
        )
        assert close(black[i], expected, 1e-4)
        inside = inside > 0.9999
        assert 0.2 < inside.float().mean() < 0.95
        assert close(edge[i][inside], expected[inside], 1e-3)
        assert edge[i].min() > pixels[i].min() - 1e-5  # no black


def test_affine_draws_within_its_bounds_for_each_photo():
    options = {"rotation": 20, "scale": 0.2, "shift": 0.1}
    images = photos(8)
    ours = augment(images, Augment(**NOTHING | options), generator())
    turns, scales, rights, downs = sample_either_way(4, 8, generator())
    matrices = transforms.affine_matrices(20 * turns, 1 + 0.2 * scales, 3.6 * rights, 3.6 * downs)
    expected = transforms.sample(images, matrices, (36, 36), outside="border")
    assert close(ours, prepare(expected, None), 1e-5)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_a_crop_flipped_and_turned_at_once_is_that_one_after_the_other(height: int, width: int):
    images = photos(8, height, width)
    places = sample_places(8, height - 20, width - 16, generator(1))
    mirrored, upturned = sample_events(8, 0.5, generator(2)), sample_events(8, 0.5, generator(3))
    turns, scales, rights, downs = sample_either_way(4, 8, generator(4))
    draw = (30 * turns, 1 + 0.3 * scales, 3 * rights, 3 * downs)
    size = (21, 17)
    matrices = transforms.crop_flip_first(
        transforms.affine_matrices(*draw), places, mirrored, upturned, (height, width), size
    )
    at_once = transforms.sample(images, matrices, size, outside="border")
    cropped = transforms.crop_flip(images, places, mirrored, upturned, size).float()
    inside = transforms.affine(torch.ones_like(cropped), *draw) > 0.9999
    assert 0.2 < inside.float().mean() < 0.95
    assert close(at_once[inside], transforms.affine(cropped, *draw)[inside], 0.01)  # of 255
    for i, (top, left) in enumerate(places.tolist()):
        expected = functional.crop(images[i], top, left, *size)
        expected = functional.horizontal_flip(expected) if mirrored[i] else expected
        expected = functional.vertical_flip(expected) if upturned[i] else expected
        assert torch.equal(cropped[i], expected.float())


def test_what_turns_into_a_crop_is_what_the_photo_shows_there():
    image = torch.zeros(1, 3, 30, 30, dtype=torch.uint8)
    image[:, :, :, :10] = 200  # left of the crop
    upright = torch.zeros(1).bool()
    matrices = transforms.crop_flip_first(
        transforms.affine_matrices(*torch.tensor([[0.0], [1.0], [5.0], [0.0]])),  # to the right
        torch.tensor([[10, 10]]),
        upright,
        upright,
        (30, 30),
        (10, 10),
    )
    moved = transforms.sample(image, matrices, (10, 10), outside="border")
    assert close(moved[0, 0, 0], torch.tensor([200.0] * 5 + [0.0] * 5), 1e-3)


def test_colour_is_torchvisions():
    pixels = photos().float() / 255
    by = factors(6)
    for name, tolerance in (
        ("adjust_brightness", 1e-6),
        ("adjust_contrast", LUMA),
        ("adjust_saturation", LUMA),
        ("adjust_sharpness", 1e-5),
    ):
        ours = getattr(transforms, name)(pixels, by)
        for image, factor, adjusted in zip(pixels, by.tolist(), ours, strict=True):
            assert close(adjusted, getattr(functional, name)(image, factor), tolerance), name
        assert close(getattr(transforms, name)(pixels, torch.ones(6)), pixels, 1e-6)


def test_hue_is_torchvisions():
    pixels = torch.cat(
        [photos().float() / 255, torch.zeros(1, 3, 36, 36), torch.ones(1, 3, 36, 36)]
    )
    turns = torch.tensor([-0.5, -0.3, 0.1, 0.25, 0.5, 0.2, 0.3, 0.3])
    ours = transforms.adjust_hue(pixels, turns)
    for image, turn, adjusted in zip(pixels, turns.tolist(), ours, strict=True):
        assert close(adjusted, functional.adjust_hue(image, turn), 1e-5)


def test_grey_is_torchvisions_for_those_who_draw_it():
    images = photos(64)
    ours = augment(images, Augment(**NOTHING | {"grey": 0.25}), generator())
    greyed = sample_events(64, 0.25, generator())
    assert 6 < greyed.sum() < 26
    expected = functional.rgb_to_grayscale(images.float(), num_output_channels=3)
    expected = torch.where(greyed[:, None, None, None], expected, images.float())
    assert close(ours, prepare(expected, None), LUMA / min(STD))


def test_the_order_is_geometry_colour_normalisation_cutout():
    images = photos()
    ours = augment(images, Augment(**EVERYTHING | {"randaugment": 0}), generator())
    draws = generator()
    boxes = sample_boxes(6, 36, 36, (0.2, 1), (0.75, 1.3333), draws)
    mirrored, upturned = sample_events(6, 0.5, draws), sample_events(6, 0.5, draws)
    turns, scales, rights, downs = sample_either_way(4, 6, draws)
    jitter = 1 + 0.3 * sample_either_way(3, 6, draws)
    hues = 0.2 * sample_either_way(1, 6, draws)[0]
    greyed = sample_events(6, 0.3, draws)
    centres = sample_places(6, 24, 24, draws)
    for i in range(6):
        photo = functional.resized_crop(images[i], *boxes[i].tolist(), size=[24, 24]) / 255
        photo = functional.horizontal_flip(photo) if mirrored[i] else photo
        photo = functional.vertical_flip(photo) if upturned[i] else photo
        draw = (20 * turns, 1 + 0.2 * scales, 2.4 * rights, 2.4 * downs)
        one = (values[i : i + 1] for values in draw)
        matrix = transforms.affine_matrices(*one)
        photo = transforms.sample(photo[None], matrix, (24, 24), outside="border")[0]
        photo = functional.adjust_brightness(photo, float(jitter[0, i]))
        photo = functional.adjust_contrast(photo, float(jitter[1, i]))
        photo = functional.adjust_saturation(photo, float(jitter[2, i]))
        photo = functional.adjust_hue(photo, float(hues[i]))
        photo = functional.rgb_to_grayscale(photo, num_output_channels=3) if greyed[i] else photo
        photo = functional.normalize(photo, list(MEAN), list(STD))
        top, left = (max(0, int(centre) - 3) for centre in centres[i])
        bottom, right = (min(24, int(centre) + 4) for centre in centres[i])
        photo = functional.erase(photo, top, left, bottom - top, right - left, torch.zeros(1))
        assert close(ours[i], photo, 5e-3)


# By how many of 255 levels we may differ from torchvision on uint8: it cuts off fractions after
# each operation, and of the grey that it blends with; we keep them.
TOLERANCES = {
    "Identity": 0,
    "ShearX": 0.51,
    "ShearY": 0.51,
    "TranslateX": 0.01,
    "TranslateY": 0.01,
    "Rotate": 0.51,
    "Brightness": 1.01,
    "Color": 2,
    "Contrast": 2,
    "Sharpness": 1.5,
    "Posterize": 0,
    "Solarize": 0,
    "AutoContrast": 1.01,
    "Equalize": 0,
}


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("name", list(OPERATIONS))
def test_operations_are_torchvisions(name: str, height: int, width: int):
    images = photos(6, height, width)
    images[2, 0] = 77  # a channel of one value
    images[1, :, :16, :16] = torch.arange(256, dtype=torch.uint8).view(16, 16)
    space = autoaugment.RandAugment()._augmentation_space(STRONGEST + 1, (height, width))
    assert list(space) == list(OPERATIONS)
    magnitudes, signed = space[name]
    signs = torch.tensor([1, 1, -1, -1, 1, -1])
    changed = 0.0
    for magnitude in range(STRONGEST + 1):
        operations = torch.full((1, 6), list(OPERATIONS).index(name))
        ours = randaugment(images / 255, operations, signs[None], magnitude)
        assert ours.min() >= 0
        assert ours.max() <= 1 + 1e-6
        strength = float(magnitudes[magnitude]) if magnitudes.ndim else 0.0
        for image, sign, operated in zip(images, signs.tolist(), ours, strict=True):
            expected = autoaugment._apply_op(
                image, name, strength * (sign if signed else 1), InterpolationMode.BILINEAR, None
            )
            changed = max(changed, float((expected.float() - image).abs().max()))
            assert close(operated * 255, expected.float(), TOLERANCES[name] + 1e-3), magnitude
    assert (changed > 10) == (name != "Identity")


def test_autocontrast_does_not_stretch_the_noise_of_interpolation():
    flat = 200 / 255 + 1e-7 * torch.randn(1, 3, 8, 8, generator=generator())
    assert close(transforms.autocontrast(flat), flat, 1e-6)


def test_randaugment_puts_each_photo_through_its_own_operations():
    pixels = photos(40).float() / 255
    operations, signs = sample_operations(40, 3, generator())
    ours = randaugment(pixels, operations, signs, 12)
    names = list(OPERATIONS)
    for i in range(40):
        alone = pixels[i : i + 1]
        for operation, sign in zip(operations[:, i], signs[:, i], strict=True):
            alone = OPERATIONS[names[operation]](alone, sign[None] * 12 / STRONGEST)
        assert close(ours[i], alone[0], LEVEL / 10)
    assert torch.equal(pixels, photos(40).float() / 255)


def test_operations_and_signs_are_drawn_evenly_and_apart():
    operations, signs = sample_operations(4000, 2, generator())
    for drawn in operations:
        assert chisquare(np.bincount(drawn, minlength=len(OPERATIONS))).pvalue > 0.01
    pairs = operations[0] * len(OPERATIONS) + operations[1]
    assert chisquare(np.bincount(pairs, minlength=len(OPERATIONS) ** 2)).pvalue > 0.01
    assert chisquare(np.bincount((2 * signs[0] + signs[1] + 3) // 2)).pvalue > 0.01


def test_cutout_is_an_erased_square():
    images = photos(6, 30, 40)
    centres = torch.tensor([[0, 0], [29, 39], [15, 20], [3, 38], [29, 0], [10, 10]])
    for size in (1, 6, 7):
        ours = transforms.cutout(images.float(), centres, size)
        for photo, (row, column), cut in zip(images, centres.tolist(), ours, strict=True):
            top, left = max(0, row - size // 2), max(0, column - size // 2)
            bottom, right = row - size // 2 + size, column - size // 2 + size
            box = (top, left, min(30, bottom) - top, min(40, right) - left)
            assert torch.equal(cut, functional.erase(photo.float(), *box, torch.zeros(1)))


def test_cutout_blanks_to_the_mean_around_any_pixel():
    images = photos(2000, 12, 12)
    ours = augment(images, Augment(**NOTHING | {"cutout": 0.25}), generator())
    blanked = (ours == 0).all(dim=1)
    prepared = prepare(images, None)
    assert torch.equal(
        ours[~blanked[:, None].expand_as(ours)], prepared[~blanked[:, None].expand_as(ours)]
    )
    assert blanked.sum(dim=(1, 2)).max() == 9
    assert blanked.sum(dim=(1, 2)).min() == 4  # in a corner
    inner = blanked.sum(dim=0)[1:-1, 1:-1].float() / 2000
    assert close(inner, torch.full_like(inner, 9 / 144), 0.02)


ALONE = ("crop", "resized_crop", "shift", "contrast", "hue", "grey", "randaugment", "cutout")
CHOICES = [{key: EVERYTHING[key]} for key in ALONE] + [EVERYTHING]


@pytest.mark.parametrize("choice", CHOICES, ids=[*ALONE, "everything"])
def test_the_seed_decides_everything_and_each_photo_is_on_its_own(choice: dict[str, Any]):
    options = Augment(**NOTHING | choice)
    images = photos(8)
    first = augment(images, options, generator(1))
    side = options.crop or 36
    assert first.shape == (8, 3, side, side)
    assert first.dtype == torch.float32
    assert first.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(first, augment(images, options, generator(1)))
    assert not torch.equal(first, augment(images, options, generator(2)))
    images[0] = 255 - images[0]
    assert close(first[1:], augment(images, options, generator(1))[1:], 1e-5)
    # The same photo over and over comes out another way each time.
    alike = augment(images[:1].expand(8, -1, -1, -1), options, generator(1))
    assert len({photo.numpy().tobytes() for photo in alike}) > 1


def test_a_photo_draws_the_same_on_any_number_of_devices():
    options, images = Augment(**EVERYTHING), photos(8)
    whole = augment(images, options, generator())
    for rows in (slice(0, 3), slice(3, 8)):
        part = augment(images[rows], options, generator(), Shard(8, rows, 1.0))
        assert close(part, whole[rows], 1e-5)


def test_what_is_switched_on_leaves_earlier_draws_as_they_were():
    images = photos(8)
    without = augment(images, Augment(**EVERYTHING | {"cutout": 0}), generator())
    with_it = augment(images, Augment(**EVERYTHING), generator())
    same = (without == with_it).all(dim=1).float().mean(dim=(1, 2))
    assert (same < 1).all()
    assert (same > 0.85).all()


def test_grey_weights_are_luma():
    assert sum(transforms.GREY) == pytest.approx(1)

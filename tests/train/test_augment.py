"""Augmentation against torchvision's own transforms on the same draw."""

import math

import pytest
import torch
from torchvision.transforms.v2 import InterpolationMode, functional

from stages.params import Augment
from stages.train import augment as module
from stages.train.augment import MEAN, STD, augment, colour_jitter, prepare, random_affine

NOTHING = {
    "crop": None,
    "horizontal_flip": 0,
    "vertical_flip": 0,
    "rotation": 0,
    "scale": 0,
    "shift": 0,
    "brightness": 0,
    "contrast": 0,
    "saturation": 0,
}


def chance(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def photos(count: int = 6, height: int = 20, width: int = 20) -> torch.Tensor:
    noise = torch.randint(0, 256, (count, height, width, 3), generator=chance(9))
    return noise.to(torch.uint8).permute(0, 3, 1, 2)


def draws(count: int, rows: int) -> torch.Tensor:
    return torch.empty(rows, count).uniform_(-1, 1, generator=chance())


def test_preparing_is_the_centre_normalised():
    images = photos()
    expected = functional.normalize(
        functional.center_crop(images, [12, 12]).float() / 255, list(MEAN), list(STD)
    )
    assert torch.allclose(prepare(images, 12), expected, atol=1e-6)
    assert prepare(images, None).shape == images.shape


def test_no_augmentation_is_preparing():
    images = photos()
    assert torch.equal(augment(images, Augment(**NOTHING), chance()), prepare(images, None))


def test_each_photo_is_cropped_from_a_place_of_its_own():
    images = photos()
    cropped = augment(images, Augment(**NOTHING | {"crop": 12}), chance())
    places = []
    for photo, crop in zip(images, cropped, strict=True):
        found = [
            (top, left)
            for top in range(9)
            for left in range(9)
            if torch.equal(crop, prepare(photo[None, :, top : top + 12, left : left + 12], None)[0])
        ]
        places += found
    assert len(places) == len(images)
    assert len(set(places)) > 1


@pytest.mark.parametrize(("key", "axis"), [("horizontal_flip", 3), ("vertical_flip", 2)])
def test_flips(key: str, axis: int):
    images = photos(64)
    always = augment(images, Augment(**NOTHING | {key: 1}), chance())
    assert torch.equal(always, prepare(images.flip(axis), None))
    sometimes = augment(images, Augment(**NOTHING | {key: 0.5}), chance())
    flipped = (sometimes == always).flatten(1).all(dim=1)
    kept = (sometimes == prepare(images, None)).flatten(1).all(dim=1)
    assert (flipped ^ kept).all()
    assert 16 < flipped.sum() < 48


@pytest.mark.parametrize(("height", "width"), [(20, 20), (20, 32)])
def test_affine_is_torchvisions_on_the_same_draw(height: int, width: int):
    images = torch.zeros(4, 3, height, width)
    images[:, :, 6:14, 6:14] = torch.rand(4, 3, 8, 8, generator=chance(3))
    moved = random_affine(images, degrees=30, scale=0.2, shift=0.1, generator=chance())
    angle, factor, right, down = draws(4, 4)
    for i in range(4):
        expected = functional.affine(
            images[i],
            angle=30 * float(angle[i]),
            translate=[0.0, 0.0],
            scale=1 + 0.2 * float(factor[i]),
            shear=[0.0, 0.0],
            interpolation=InterpolationMode.BILINEAR,
        )
        # torchvision shifts by whole pixels: compare where ours is shifted by nothing, and the
        # shift by itself.
        still = random_affine(images, degrees=30, scale=0.2, shift=0, generator=chance())
        assert torch.allclose(still[i], expected, atol=1e-4)
    straight = random_affine(images, degrees=0, scale=0, shift=0.1, generator=chance())
    columns = torch.arange(width, dtype=torch.float32)
    weight = images.sum(dim=(1, 2))
    centre = (weight * columns).sum(dim=1) / weight.sum(dim=1)
    weight = straight.sum(dim=(1, 2))
    assert torch.allclose(
        (weight * columns).sum(dim=1) / weight.sum(dim=1) - centre, 0.1 * width * right, atol=1e-3
    )
    assert moved.shape == images.shape
    assert not math.isclose(float(down[0]), float(right[0]))


def test_colour_jitter_is_torchvisions_on_the_same_draw():
    images = photos().float() / 255
    jittered = colour_jitter(images, 0.4, 0.3, 0.5, chance())
    factors = 1 + draws(len(images), 3) * torch.tensor([[0.4], [0.3], [0.5]])
    for image, ours, (bright, contrast, saturation) in zip(
        images, jittered, factors.T.tolist(), strict=True
    ):
        expected = functional.adjust_brightness(image, bright)
        expected = functional.adjust_contrast(expected, contrast)
        expected = functional.adjust_saturation(expected, saturation)
        assert torch.allclose(ours, expected, atol=2e-3)  # its grey weights are rounded


def test_the_seed_decides_everything():
    options = Augment(
        crop=16,
        horizontal_flip=0.5,
        vertical_flip=0.5,
        rotation=20,
        scale=0.2,
        shift=0.1,
        brightness=0.2,
        contrast=0.2,
        saturation=0.2,
    )
    images = photos()
    first = augment(images, options, chance(1))
    assert first.shape == (6, 3, 16, 16)
    assert torch.equal(first, augment(images, options, chance(1)))
    assert not torch.equal(first, augment(images, options, chance(2)))


def test_grey_weights_are_luma():
    assert sum(module.GREY) == pytest.approx(1)

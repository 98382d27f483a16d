"""Heat over photos, and marks in captions."""

import numpy as np
import pytest
from PIL import Image

from stages.ingest.form import shares
from tagloom.drawing import SIDE, Explained, upright, warmed
from tagloom.heat import over_photo


def test_a_square_photo_gets_its_shape_back():
    square = np.zeros((SIDE, SIDE, 3), np.uint8)
    assert upright(square, 1000, 500).shape == (SIDE // 2, SIDE, 3)
    assert upright(square, 1, 10_000).shape == (SIDE, 1, 3)


def test_heat_lies_where_it_was_seen():
    photo = np.full((40, 80, 3), 100, np.uint8)
    heat = np.zeros((2, 2), np.float32)
    heat[0, 0] = 3.0
    warm = warmed(photo, heat, seen=(0.5, 0.5)).astype(int)
    is_coloured = np.ptp(warm, axis=2) > 60
    rows, columns = np.nonzero(is_coloured)
    # The top left of the middle, which goes from a quarter to three quarters of each side.
    assert 10 <= rows.min() <= rows.max() < 22
    assert 20 <= columns.min() <= columns.max() < 44


def test_heat_of_a_square_beside_or_beyond_a_wide_photo():
    photo, heat = np.full((40, 80, 3), 100, np.uint8), np.eye(4, dtype=np.float32)[::-1]
    for fit, columns in (("crop", (20, 59)), ("pad", (20, 59)), ("stretch", (0, 79))):
        is_coloured = np.ptp(warmed(photo, heat, shares(fit, 80, 40)).astype(int), axis=2) > 60
        found = np.nonzero(is_coloured.any(axis=0))[0]
        assert (found.min(), found.max()) == pytest.approx(columns, abs=4), fit
        # From the lower left to the upper right: in a padded square, only the middle half of it.
        assert is_coloured[-3:, found.min() : found.min() + 3].any() or fit == "pad"
        assert is_coloured.any(axis=1).all()


def test_heat_over_a_photo_like_a_line_takes_no_memory():
    seen = shares("pad", 100_000, 1)
    share = over_photo(np.ones((7, 7), np.float32), seen, 224, 224, Image.Resampling.BICUBIC)
    assert share.min() == pytest.approx(1)


def test_no_heat_leaves_a_photo_grey():
    photo = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    assert np.ptp(warmed(photo, np.zeros((2, 2), np.float32), (1.0, 1.0)), axis=2).max() <= 3


def test_words_are_marked_where_they_stand_in_the_caption():
    explained = Explained("dog", 0.5, True, None, {"dog": 2.0, "a": -1.0, "red": 0.001})
    assert explained.marked("A Dog, red.") == [
        ("", 0.0), ("A", 0.0), (" ", 0.0), ("Dog", 0.5), (", ", 0.0), ("red", 0.0), (".", 0.0)
    ]  # fmt: skip
    assert explained.marked(None) == [("", 0.0)]
    in_hindi = Explained("dog", 0.5, True, None, {"कुत्ता": 2.0})
    assert in_hindi.marked("कुत्ता।") == [("", 0.0), ("कुत्ता", 0.5), ("।", 0.0)]
    assert explained.strongest == "dog +2.00, a -1.00"

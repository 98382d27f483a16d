"""Which photos are named as the next to label."""

import numpy as np
import pytest

from stages.bundle.selection import doubts, most_telling


def test_there_is_most_doubt_at_the_threshold_and_of_the_rare_label():
    thresholds = np.array([0.4, 0.1])
    probabilities = np.array([[0.9, 0.0], [0.4, 0.02], [0.5, 0.1], [1.0, 0.01]])
    found = doubts(probabilities.astype(np.float32), thresholds)
    assert found.argmax(axis=0).tolist() == [1, 2]
    rates = probabilities.mean(axis=0)
    assert found.max(axis=0) * np.sqrt(rates) == pytest.approx(np.log(2), rel=1e-5)
    assert found[2, 1] > 4 * found[1, 0]
    assert (found > 0).all()
    assert np.isfinite(found).all()


def test_a_label_that_no_photo_seems_to_have_is_finite():
    found = doubts(np.zeros((3, 1), np.float32), np.array([np.nextafter(1, 2)]))
    assert np.isfinite(found).all()


def test_of_photos_that_are_alike_one_comes_first():
    features = np.array([[9, 0], [9, 0.1], [-9, 0], [0, 9], [0, -9]], np.float32)
    order = most_telling(np.array([1, 0.95, 0.9, 0.8, 0.7]), features, 5)
    assert order.tolist() == [0, 2, 3, 4, 1]
    assert most_telling(np.array([1, 2, 3.0]), np.zeros((3, 4), np.float32), 2).tolist() == [2, 1]


def test_no_more_photos_are_named_than_there_are():
    features = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    assert sorted(most_telling(np.ones(7), features, 20)) == [*range(7)]

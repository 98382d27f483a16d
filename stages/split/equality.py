"""How equal the parts are: the figures of ``metrics/split.json``."""

from typing import Any

import numpy as np

from stages.split.stratify import relative_gaps, smallest_gaps


def sizes(validates: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> dict[str, Any]:
    """How many photos the parts and the groups that stay together have.

    Args:
        validates: bool, (photos,).
        labels: bool, (photos, labels).
        groups: int, (photos,), from ``same_photo``.
    """
    members = np.bincount(groups)
    members = members[members > 1]
    without = ~labels.any(axis=1)
    return {
        "photos": {"train": (~validates).sum(), "validation": validates.sum()},
        "photos_without_labels": {
            "train": (without & ~validates).sum(),
            "validation": (without & validates).sum(),
        },
        "kept_together": {
            "groups": len(members),
            "photos": members.sum(),
            "largest": members.max(initial=0),
        },
    }


def gaps(labels: np.ndarray, validates: np.ndarray, names: list[str], seed: int) -> dict[str, Any]:
    """Relative gaps of the labels' rates, beside what whole photos allow and what chance gives."""
    by_label = relative_gaps(labels, validates)
    by_chance = relative_gaps(labels, np.random.default_rng(seed).permutation(validates))
    return {
        "largest_relative_gap": by_label.max(initial=0),
        "largest_relative_gap_smallest_possible": smallest_gaps(labels, validates).max(initial=0),
        "largest_relative_gap_random": by_chance.max(initial=0),
        "relative_gap": dict(zip(names, by_label, strict=True)),
    }

"""How equal and how separate the parts are: the figures of ``metrics/split.json``."""

from typing import Any

import numpy as np
import polars as pl

from stages.split.folds import HOLDOUT, PARTS
from stages.split.rates import relative_gaps, smallest_gaps


def sizes(
    part: np.ndarray, labels: np.ndarray, known: np.ndarray | None, same: np.ndarray
) -> dict[str, Any]:
    """How many photos the parts have, and how many are the same.

    Args:
        part: str, (photos,), of ``PARTS``; a holdout is counted where there is one.
        labels: bool, (photos, labels).
        known: bool, (photos, labels); None: every label is.
        same: int, (photos,), from ``same_photo``.
    """
    members = np.bincount(same)
    members = members[members > 1]
    without = ~labels.any(axis=1)
    if known is not None:
        without &= known.all(axis=1)
    there = [name for name in PARTS if name != HOLDOUT or (part == name).any()]
    return {
        "photos": {name: (part == name).sum() for name in there},
        "photos_without_labels": {name: (without & (part == name)).sum() for name in there},
        "kept_together": {
            "groups": len(members),
            "photos": members.sum(),
            "largest": members.max(initial=0),
        },
    }


def gaps(
    labels: np.ndarray,
    known: np.ndarray | None,
    validates: np.ndarray,
    units: np.ndarray,
    names: list[str],
    seed: int,
) -> dict[str, Any]:
    """Relative gaps of the labels' rates, beside what whole units allow and what chance gives.

    Args:
        labels, known: as for ``sizes``.
        validates: bool, (photos,): which of two parts each photo is in.
        units: int, (photos,): which photos stay together.
    """
    by_label = relative_gaps(labels, validates, known)
    by_chance = relative_gaps(labels, np.random.default_rng(seed).permutation(validates), known)
    # What has been parted nonetheless, as the source or an earlier delivery has it, can be.
    pieces = 2 * units + validates
    possible = smallest_gaps(labels, validates, known, pieces)
    return {
        "largest_relative_gap": by_label.max(initial=0),
        "largest_relative_gap_smallest_possible": possible.max(initial=0),
        "largest_relative_gap_random": by_chance.max(initial=0),
        "relative_gap": dict(zip(names, by_label, strict=True)),
    }


def separation(
    photos: pl.DataFrame,
    fold: np.ndarray,
    keys: dict[str, np.ndarray],
    same: np.ndarray,
    test: pl.DataFrame,
) -> dict[str, Any]:
    """What belongs together and stands apart nonetheless; empty where there is nothing to say.

    Args:
        photos: records of what is parted.
        fold: int, (photos,).
        keys: of ``numbered``.
        same: int, (photos,), from ``same_photo``.
        test: records of subset ``test``.
    """
    found: dict[str, Any] = {}
    if apart := count_apart(same, fold):
        found["same_photos_in_several_parts"] = apart
    if "group" in keys:
        members = np.bincount(keys["group"][keys["group"] >= 0])
        of_test = test.filter(pl.col("labels").is_not_null())["group"].drop_nulls()
        found["groups"] = {
            "groups": len(members),
            "photos": members.sum(),
            "largest": members.max(),
            "in_several_parts": count_apart(keys["group"], fold),
            "in_labelled_test": photos["group"].unique().is_in(of_test.implode()).sum(),
        }
    return found


def count_apart(numbers: np.ndarray, fold: np.ndarray) -> int:
    """How many ``numbers`` have rows in several folds: int (rows,) both; -1 is none."""
    there = numbers >= 0
    numbers, fold = numbers[there], fold[there]
    least, most = np.full((2, numbers.max(initial=-1) + 1), [[np.iinfo(fold.dtype).max], [-1]])
    np.minimum.at(least, numbers, fold)
    np.maximum.at(most, numbers, fold)
    return int((least < most).sum())


def origin(photos: pl.DataFrame, part: np.ndarray, by: str) -> dict[str, Any]:
    """Parts that come from the source or from times; empty where they come from neither.

    Args:
        photos: records of what is parted.
        part: str, (photos,), of ``PARTS``.
        by: ``split.by``.
    """
    found: dict[str, Any] = {}
    given, time = photos["part"], photos["time"]
    if given.is_not_null().any():
        found["given"] = {
            **{name: (given == name).sum() for name in ("train", "validation")},
            "neither": given.null_count(),
        }
    if by == "time":
        held, first = part == HOLDOUT, {}
        if not (given == "validation").any():
            first = {
                "train_until": said(time.filter(part == "train").max()),
                "validation_from": said(time.filter(part == "validation").min()),
            }
        if held.any():
            first["holdout_from"] = said(time.filter(held).min())
        if first:
            found["time"] = first | {"photos_without": time.null_count()}
    return found


def said(time: Any) -> str | None:
    """A datetime as ISO 8601 has it."""
    return None if time is None else time.isoformat()

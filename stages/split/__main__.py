"""split: records → the part that each labelled photo plays, and how equal the parts are."""

from typing import Any

import numpy as np
import polars as pl

from stages import UserError, run
from stages.ingest import records
from stages.metrics import write as write_metrics
from stages.params import PARAMS, read
from stages.split import folds
from stages.split.duplicates import same_photo
from stages.split.params import Split
from stages.split.stratify import relative_gaps, smallest_gaps, stratify, unit_counts


def main() -> None:
    params = read(Split)
    table, names = records.read(), records.read_label_names()
    if not names:
        raise UserError(
            f"no photo in {records.RECORDS} carries a label; see the options of the source in "
            f"{PARAMS}"
        )
    in_test = pl.col("subset") == "test"
    photos = table.filter(~in_test, pl.col("labels").is_not_null())
    check_count(len(photos), params)
    labels, groups = records.label_matrix(photos["labels"], names), same_photo(photos)
    fold = one_by_one(labels, photos["delivery"].to_numpy(), groups, params)
    check_parts(fold, params, groups)
    validates = fold == params.fold
    folds.write(
        pl.DataFrame(
            {
                "id": photos["id"],
                "fold": fold,
                "part": np.where(validates, "validation", "train"),
            },
            schema=folds.SCHEMA,
        )
    )
    measured = {
        **sizes(validates, labels, groups),
        "photos_that_test_has_too": photos_in(photos, table.filter(in_test)),
        **gaps(labels, validates, names, params.seed),
    }
    write_metrics("split", measured)
    print(
        f"split: {(~validates).sum():,} photos train, {validates.sum():,} validate; largest "
        f"relative gap of a label's rate {measured['largest_relative_gap']:.2g}"
    )


def one_by_one(
    labels: np.ndarray, delivery: np.ndarray, groups: np.ndarray, params: Split
) -> np.ndarray:
    """The part of each photo, int32 (photos,): that which it got when its delivery was the last.

    A photo that came before keeps its part when more arrive. So what one network has not been
    trained on another, of more photos, has not either, and both can be measured there.

    Args:
        labels: bool, (photos, labels).
        delivery: int, (photos,).
        groups: int, (photos,), from ``same_photo``: what goes with an earlier photo follows it.
    """
    parts = params.folds or 2
    fold = np.full(len(labels), -1, np.int32)
    of_group = np.full(groups.max() + 1, -1, np.int32)
    for number in np.unique(delivery):
        there = delivery <= number
        fold[there] = of_group[groups[there]]
        new = there & (fold < 0)
        if not new.any():
            continue
        placed = fold >= 0
        _, units = np.unique(groups[new], return_inverse=True)
        before = unit_counts(labels[placed], fold[placed], parts)
        sizes = part_sizes(there.sum(), params)
        fold[new] = stratify(labels[new], sizes, params.seed, units, before)
        of_group[groups[new]] = fold[new]
    return fold


def check_count(photos: int, params: Split) -> None:
    """Ends the stage when there are too few photos for the parts."""
    if photos == 0:
        raise UserError(
            f"{records.RECORDS} holds no photo of subset train with known labels, so there is "
            "nothing to split; give the source some labelled photos"
        )
    parts = params.folds or 2
    if photos < parts:
        raise UserError(
            f"{photos} photos with known labels cannot be split into {parts} parts; add photos"
            + (" or lower split.folds" if params.folds else "")
        )


def part_sizes(photos: int, params: Split) -> np.ndarray:
    """How many photos go to each part: int, (2,) for validation and train, or (folds,)."""
    if params.folds:
        parts = params.folds
        return photos // parts + (np.arange(parts) < photos % parts)
    validation = min(max(round(photos * params.validation), 1), photos - 1)
    return np.array([validation, photos - validation])


def check_parts(fold: np.ndarray, params: Split, groups: np.ndarray) -> None:
    """Ends the stage when photos that stay together leave a part without any."""
    parts = params.folds or 2
    if len(np.unique(fold)) < parts:
        raise UserError(
            f"the {len(fold):,} photos with known labels are only {groups.max() + 1:,} different "
            f"ones (identical and near-identical photos stay together), and their groups are too "
            f"large for {parts} parts; add photos, or make the parts fewer or more even"
        )


def photos_in(photos: pl.DataFrame, others: pl.DataFrame) -> int:
    """How many of ``photos`` have the ``sha256`` or the ``dhash`` of one of ``others``."""
    shared = [pl.col(name).is_in(others[name].implode()) for name in ("sha256", "dhash")]
    return photos.filter(pl.any_horizontal(shared)).height


def sizes(validates: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> dict[str, Any]:
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


if __name__ == "__main__":
    run(main)

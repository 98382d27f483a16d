"""The part of each photo, such that no photo changes its part when more arrive."""

import numpy as np

from stages import UserError
from stages.ingest.records import RECORDS
from stages.split.params import Split
from stages.split.stratify import stratify, unit_counts


def assign(
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
        before = unit_counts(labels[placed], fold[placed], params.parts)
        sizes = part_sizes(there.sum(), params)
        fold[new] = stratify(labels[new], sizes, params.seed, units, before)
        of_group[groups[new]] = fold[new]
    return fold


def part_sizes(photos: int, params: Split) -> np.ndarray:
    """How many photos go to each part: int, (2,) for validation and train, or (folds,)."""
    if params.validation is None:
        return photos // params.parts + (np.arange(params.parts) < photos % params.parts)
    validation = min(max(round(photos * params.validation), 1), photos - 1)
    return np.array([validation, photos - validation])


def check_count(photos: int, params: Split) -> None:
    """Checks that there is a photo for each part.

    Raises:
        UserError: there are too few.
    """
    if photos == 0:
        raise UserError(
            f"{RECORDS} holds no photo of subset train with known labels, so there is "
            "nothing to split; give the source some labelled photos"
        )
    if photos < params.parts:
        raise UserError(
            f"{photos} photos with known labels cannot be split into {params.parts} parts; add "
            "photos" + (" or lower split.folds" if params.folds else "")
        )


def check_parts(fold: np.ndarray, groups: np.ndarray, params: Split) -> None:
    """Checks that each part has photos, though groups stay together; int (photos,) both.

    Raises:
        UserError: a part has none.
    """
    if len(np.unique(fold)) < params.parts:
        raise UserError(
            f"the {len(fold):,} photos with known labels are only {groups.max() + 1:,} different "
            f"ones (identical and near-identical photos stay together), and their groups are too "
            f"large for {params.parts} parts; add photos, or make the parts fewer or more even"
        )

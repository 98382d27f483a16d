"""The part of each photo, such that no photo changes its part when more arrive."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from stages import UserError
from stages.ingest.records import RECORDS
from stages.params import PARAMS
from stages.split.duplicates import linked
from stages.split.params import Split
from stages.split.stratify import balanced, stratify, unit_counts

HOLDOUT = -1
VALIDATION, TRAIN = 0, 1  # where there are no folds
OPEN = -1  # of a photo whose part is still to be found
NEVER = np.iinfo(np.int64).min


def assign(
    photos: pl.DataFrame,
    labels: np.ndarray,
    known: np.ndarray | None,
    keys: Sequence[np.ndarray],
    params: Split,
) -> tuple[np.ndarray, np.ndarray]:
    """The part of each photo, and which belong together.

    First the holdout is cut from all photos but those that the source has validate, then the rest
    is split as if there were no other: what is in the one no change of the other moves.

    Args:
        photos: records.
        labels: bool, (photos, labels); False where a label is not known.
        known: bool, (photos, labels); None: every label is.
        keys: of ``numbered``: what goes with an earlier photo follows it.

    Returns:
        The parts, int32 (photos,), and which photos belong together, int (photos,), as ``linked``
        numbers them.
    """
    given, held = given_parts(photos), np.zeros(len(photos), bool)
    if params.holdout is not None:
        stay = np.where(given == VALIDATION, TRAIN, OPEN)
        cut = split(photos, stay, labels, known, keys, params.of_holdout)
        held = cut == VALIDATION
    fold, rest = np.full(len(photos), HOLDOUT, np.int32), ~held
    fold[rest] = split(
        photos.filter(rest),
        given[rest],
        labels[rest],
        None if known is None else known[rest],
        [key[rest] for key in keys],
        params.of_rest,
    )
    return fold, linked(keys)


def split(
    photos: pl.DataFrame,
    given: np.ndarray,
    labels: np.ndarray,
    known: np.ndarray | None,
    keys: Sequence[np.ndarray],
    params: Split,
) -> np.ndarray:
    """The part of each photo: that which it got when its delivery was the last.

    A photo that came before keeps its part when more arrive. So what one network has not been
    trained on another, of more photos, has not either, and both can be measured there. A new photo
    has the part that its source gives it; else that of photos which it belongs with, the same ones
    and those of its group (of several parts the last, train where there are two). The others
    train where the source has named photos of validation, and are split where it has not.

    Args:
        given: int (photos,), from ``given_parts``.

    Returns:
        int32 (photos,); other arguments as for ``assign``.
    """
    delivery = photos["delivery"].to_numpy()
    fold = np.full(len(photos), OPEN, np.int32)
    for number in np.unique(delivery):
        there = np.flatnonzero(delivery <= number)
        units = linked([key[there] for key in keys])
        part = np.where(fold[there] == OPEN, given[there], fold[there])
        of_unit = np.full(units.max() + 1, OPEN, np.int32)
        np.maximum.at(of_unit, units, part)
        part = np.where(part == OPEN, of_unit[units], part)
        new = part == OPEN
        if not new.any():
            pass
        elif (given[there] == VALIDATION).any() or not params.makes_parts:
            part[new] = TRAIN
        elif params.by == "time":
            size = part_sizes(len(part), params)[VALIDATION] - (part == VALIDATION).sum()
            time = photos["time"].gather(there).filter(new)
            part[new] = newest_validate(time, units[new], size, params.seed)
        else:
            columns = balanced(labels[there], None if known is None else known[there])
            before = unit_counts(columns[~new], part[~new], params.parts)
            _, numbers = np.unique(units[new], return_inverse=True)
            sizes = part_sizes(len(part), params)
            part[new] = stratify(columns[new], sizes, params.seed, numbers, before)
        fold[there] = part
    return fold


def given_parts(photos: pl.DataFrame) -> np.ndarray:
    """The part that its source gives each photo: int32 (photos,), ``OPEN`` for none.

    Where no photo is given to validation, the source has not parted them for it: all are open.
    """
    part = photos["part"]
    if not (part == "validation").any():
        return np.full(len(part), OPEN, np.int32)
    numbers = {"validation": VALIDATION, "train": TRAIN}
    return part.replace_strict(numbers, default=OPEN, return_dtype=pl.Int32).to_numpy()


def newest_validate(time: pl.Series, units: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Parts by time: about ``size`` photos validate, and no photo that trains is newer than they.

    A unit is as old as its newest photo. So its other photos, which validate with it, may be older
    than some that train. Units without a time train.

    Args:
        time: Datetime, (photos,).
        units: int, (photos,): photos with equal numbers go to one part.
        size: as near as whole units come to it, one unit at least; of 0 or less: none.
        seed: decides which validate of units of equal times.

    Returns:
        int32, (photos,), ``VALIDATION`` or ``TRAIN``.
    """
    _, units, members = np.unique(units, return_inverse=True, return_counts=True)
    newest = np.full(len(members), NEVER)
    np.maximum.at(newest, units, time.to_physical().fill_null(NEVER).to_numpy())
    order = np.lexsort((np.random.default_rng(seed).random(len(newest)), newest))[::-1]
    order = order[newest[order] > NEVER]
    part = np.full(len(members), TRAIN, np.int32)
    if size > 0 and len(order):
        many = np.abs(members[order].cumsum() - size).argmin() + 1
        part[order[:many]] = VALIDATION
    return part[units]


def part_sizes(photos: int, params: Split) -> np.ndarray:
    """How many photos go to each part: int, (2,) for validation and train, or (folds,)."""
    if params.validation is None:
        return photos // params.parts + (np.arange(params.parts) < photos % params.parts)
    validation = min(max(round(photos * params.validation), 1), photos - 1)
    return np.array([validation, photos - validation])


def check_photos(photos: pl.DataFrame, test: pl.DataFrame, params: Split) -> None:
    """Checks that ``photos`` can be split as ``params`` ask for, beside ``test``; both records.

    Raises:
        UserError: there are too few, or they have not what they are to be split by.
    """
    if photos.is_empty():
        raise UserError(
            f"{RECORDS} holds no photo of subset train with known labels, so there is "
            "nothing to split; give the source some labelled photos"
        )
    parts = params.parts + (params.holdout is not None)
    if len(photos) < parts:
        raise UserError(
            f"{len(photos)} photos with known labels cannot be split into {parts} parts; "
            "add photos" + (" or lower split.folds" if params.folds else "")
        )
    labelled = test["labels"].count()
    if labelled and params.holdout is not None:
        raise UserError(
            f"the labels of {labelled:,} test photos are known, so that these are the holdout "
            f"already; set split.holdout to null in {PARAMS}"
        )
    given = int((given_parts(photos) == VALIDATION).sum())
    if given and params.folds:
        raise UserError(
            f"the source gives {given:,} photos to validation, so there are no folds to make; set "
            f"split.folds to null in {PARAMS}, or have the source give no parts"
        )
    if not given and not params.makes_parts:
        raise UserError(
            "split.validation and split.folds are both null, but the source gives no photo to "
            f"validation; give one of them in {PARAMS}"
        )
    if not given and params.by == "time" and photos["time"].is_null().all():
        raise UserError(
            f"split.by is time, but no photo in {RECORDS} has one; name the column in the options "
            f"of the source (ingest.table.time), or set split.by to random in {PARAMS}"
        )


def check_parts(fold: np.ndarray, units: np.ndarray, photos: pl.DataFrame, params: Split) -> None:
    """Checks that each part has photos, though some stay together; int (photos,) both.

    Raises:
        UserError: a part has none.
    """
    parts = params.parts + (params.holdout is not None)
    if len(np.unique(fold)) == parts:
        return
    if (given_parts(photos) == VALIDATION).any():
        raise UserError(
            f"the source gives all {len(fold):,} photos with known labels to validation, so none "
            "trains; give it others, or have it give no parts"
        )
    grouped = photos["group"].is_not_null().any()
    raise UserError(
        f"the {len(fold):,} photos with known labels are only {len(np.unique(units)):,} different "
        f"ones (identical and near-identical photos{' and those of a group' if grouped else ''} "
        f"stay together), and their groups are too large for {parts} parts; add photos, or "
        "make the parts fewer or more even"
    )

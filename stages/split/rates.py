"""How far apart the rates of labels are in two parts, and how near they could be.

The rate of a label is taken over the rows of which it is known whether they carry it. Where the
label is known of no row of a part, its rate there counts as 0.
"""

import numpy as np

from stages.metrics import ratio


def relative_gaps(
    labels: np.ndarray, validation: np.ndarray, known: np.ndarray | None = None
) -> np.ndarray:
    """|rate in validation - rate in train| / rate in both, of each label.

    Args:
        labels: bool, (rows, labels).
        validation: bool, (rows,); both parts have rows.
        known: bool, (rows, labels); None: every label is.

    Returns:
        float, (labels,); 0 for a label that no row carries.
    """
    inside, totals = labels[validation].sum(axis=0), labels.sum(axis=0)
    return gaps_of_counts(inside, totals, *sizes_of(validation, known))


def smallest_gaps(
    labels: np.ndarray,
    validation: np.ndarray,
    known: np.ndarray | None = None,
    units: np.ndarray | None = None,
) -> np.ndarray:
    """The relative gaps that no split into parts of these sizes goes below, since units are whole.

    Each label is taken on its own: how many of its rows validation can hold is a sum of the units'
    counts, and the gap is that of the nearest such sum (exact, by dynamic programming over sums).
    No split has a smaller one. Whether one split reaches all of them at once, and these sizes, is
    not asked, so with large units what can be reached may lie above.

    Args:
        labels, validation, known: as for ``relative_gaps``.
        units: int, (rows,), from 0: rows that stay together; None: each row is on its own.

    Returns:
        float, (labels,).
    """
    totals = labels.sum(axis=0)
    sizes = sizes_of(validation, known)
    below = np.floor(totals * ratio(*sizes) + 1e-9).astype(int)
    above = below + 1
    if units is not None:
        for label, at in enumerate(below):
            members = np.bincount(units[labels[:, label]])
            below[label], above[label] = nearest_sums(members, at)
    above = np.minimum(above, sizes[0])  # none, where the label is known of no row there
    return np.minimum(gaps_of_counts(below, totals, *sizes), gaps_of_counts(above, totals, *sizes))


def nearest_sums(numbers: np.ndarray, at: int) -> tuple[int, int]:
    """The largest sum of some of ``numbers`` that is ``at`` or less, and the smallest above it.

    ``numbers`` is int, (numbers,), not negative, as ``at``. The second sum is looked for up to
    twice ``at`` and 1: as far off as none of them, which is 0. Where there is none, it is the
    first.
    """
    at = int(at)  # not of a fixed size
    most = 2 * at + 1
    sums, bound = 1, (1 << most + 1) - 1  # bit n: n is a sum
    for number, times in zip(*np.unique(numbers[numbers > 0], return_counts=True), strict=True):
        # Any multiple up to times is a sum of 1, 2, 4, … times it, and of a last remainder.
        each, left = 1, int(times)
        while left and int(number) * min(each, left) <= most:
            sums |= sums << int(number) * min(each, left) & bound
            left -= min(each, left)
            each *= 2
    lower, upper = sums & (1 << at + 1) - 1, sums >> at + 1
    first = lower.bit_length() - 1
    return first, at + (upper & -upper).bit_length() if upper else first


def sizes_of(validation: np.ndarray, known: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """The rows of validation and of both parts of which each label is known: int, () or (labels,).

    Arguments as for ``relative_gaps``.
    """
    if known is None:
        return validation.sum(), np.asarray(len(validation))
    return known[validation].sum(axis=0), known.sum(axis=0)


def gaps_of_counts(
    inside: np.ndarray, totals: np.ndarray, size: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """The relative gaps of labels that ``inside`` rows of validation carry, of ``totals`` in all.

    Args:
        inside, totals: int, (labels,).
        size, rows: of ``sizes_of``.

    Returns:
        float, (labels,); 0 for a label that no row carries.
    """
    difference = np.abs(ratio(inside, size) - ratio(totals - inside, rows - size))
    return ratio(difference * rows, totals)

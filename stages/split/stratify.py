"""Parts of a multi-label data set in which every label has the same rate.

Rows with equal label sets are spread over the parts in proportion, all at once. Only what is left
over (less than a row for each part and label set) goes through iterative stratification (Sechidis,
Tsoumakas and Vlahavas, ECML PKDD 2011), and a few swaps put right what it could not know when it
placed a row. So time grows with the rows as sorting does, not with their square.

Rows that must stay together are units: a unit has a count for each label, and one for its rows.
Two more labels are counted: "none" is carried by the rows without labels, so that they are spread
too, and "any" by every row, so that a part's size is one more rate to keep.

Hardly two large units hold the same, so that there may be many left over. Most of them are then
drawn all at once, by lot with chances that are moved until the counts are right, and the largest
and the smallest alone go through iterative stratification.
"""

from collections import deque
from itertools import combinations

import numpy as np
import polars as pl
from scipy import sparse
from skmultilearn.model_selection import IterativeStratification

# A swap looks at all pairs of kinds, so there is a bound to the kinds and to the swaps.
SWAPPED_KINDS = 1000
MAX_SWAPS = 1000
TOLERANCE = 1e-12  # smaller changes are rounding
MAX_SINGLY = 10_000  # units that iterative stratification places: it takes half a second
MAX_STEPS = 20  # of the search for chances


def stratify(
    labels: np.ndarray,
    sizes: np.ndarray,
    seed: int,
    groups: np.ndarray | None = None,
    before: np.ndarray | None = None,
) -> np.ndarray:
    """Assigns each row to a part.

    Args:
        labels: bool, (rows, labels).
        sizes: int, (parts,): rows of each part in the end, two or more parts. They are kept
            exactly, unless groups or what was there before stand in the way.
        seed: of the choice among equals.
        groups: int, (rows,): rows with equal numbers go to one part, every number from 0 to the
            largest has some. None: each row is on its own.
        before: int, (parts, labels + 2): what each part holds of earlier rows, counted as by
            ``unit_counts``, which the new ones are to complete. None: nothing.

    Returns:
        int32, (rows,): the numbers of the parts.
    """
    generator = np.random.default_rng(seed)
    groups = np.arange(len(labels)) if groups is None else groups
    counts = unit_counts(labels, groups)
    order = generator.permutation(len(counts))
    vectors, numbers, units = kinds(counts[order])
    before = np.zeros((len(sizes), counts.shape[1]), int) if before is None else before
    desired = np.outer(sizes / sizes.sum(), (counts.sum(axis=0) + before.sum(axis=0))) - before

    placed = np.zeros((len(vectors), len(sizes)), int)
    together = vectors[:, -1] > 1  # units of several rows are hard to fit in, so they go first
    place_singly(placed, np.where(together, numbers, 0), vectors, desired, generator)
    placed += shares(np.where(together, 0, numbers), vectors, desired - placed.T @ vectors)
    place_singly(placed, numbers - placed.sum(axis=1), vectors, desired, generator)
    swap(placed, vectors, desired)

    parts = np.tile(np.arange(len(sizes), dtype=np.int32), len(vectors))
    of_unit = np.empty(len(counts), np.int32)
    of_unit[order[units]] = np.repeat(parts, placed.ravel())
    return of_unit[groups]


def balanced(labels: np.ndarray, known: np.ndarray | None) -> np.ndarray:
    """What ``stratify`` is to spread so that each label has the same rate where it is known.

    That is so where the rows that carry it are spread evenly, and so are those of which it is
    known. A label on no row is left out, lest one that comes with later photos moves these.

    Args:
        labels: bool, (rows, labels); False where a label is not known.
        known: bool, (rows, labels); None: every label is.

    Returns:
        bool, (rows, columns): the labels; then, for each that is not known of every row, whether
        it is, and last the rows known to carry none. ``labels`` itself, where none has to be
        left out or added.
    """
    columns = labels
    if known is not None and not known.all():
        partly = known[:, ~known.all(axis=0)]
        columns = np.column_stack([labels, partly, known.all(axis=1) & ~labels.any(axis=1)])
    used = columns.any(axis=0)
    return columns if used.all() else columns[:, used]


def unit_counts(labels: np.ndarray, groups: np.ndarray, number: int | None = None) -> np.ndarray:
    """How many rows of each group carry each label, and "none", and "any".

    int32, (groups, labels + 2); ``number`` says how many groups, where the last may be empty.
    """
    rows = np.arange(len(groups))
    shape = (groups.max() + 1 if number is None else number, len(groups))
    membership = sparse.csr_array((np.ones(len(groups), np.int32), (groups, rows)), shape=shape)
    carried = np.column_stack([labels, ~labels.any(axis=1), np.ones(len(labels), bool)])
    return membership @ carried.astype(np.int32)


def kinds(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sorts units by what they hold.

    Args:
        counts: int, (units, labels).

    Returns:
        The distinct rows of ``counts``, in the order they come; how many units each has; and the
        units' numbers, those of the first kind first, else in order.
    """
    table = (
        pl.DataFrame(counts)
        .with_row_index("unit")
        .group_by(pl.exclude("unit"), maintain_order=True)
        .agg("unit")
    )
    units = table["unit"]
    return table.drop("unit").to_numpy(), units.list.len().to_numpy(), units.explode().to_numpy()


def shares(numbers: np.ndarray, vectors: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Spreads the units of each kind by what the parts still want of its rarest label.

    Shares are rounded down.

    Args:
        numbers: int, (kinds,): units to spread.
        vectors: int, (kinds, labels): what a unit of each kind holds.
        wanted: float, (parts, labels): counts that each part still has room for.

    Returns:
        int, (kinds, parts).
    """
    full = wanted[:, -1:] <= 0  # a large group may have seen to that
    wanted = np.where(full, 0, wanted.clip(0))
    total = wanted.sum(axis=0)
    rarest = np.where(vectors > 0, numbers @ vectors, np.inf).argmin(axis=1)
    fractions = np.divide(wanted, total, out=np.zeros_like(wanted), where=total > 0)
    return np.floor(numbers[:, None] * fractions.T[rarest] + 1e-9).astype(int)


def place_singly(
    placed: np.ndarray,
    numbers: np.ndarray,
    vectors: np.ndarray,
    desired: np.ndarray,
    generator: np.random.Generator,
) -> None:
    """Adds ``numbers`` (int, (kinds,)) units to ``placed`` (kinds, parts), large ones first."""
    units = np.repeat(np.arange(len(vectors)), numbers)
    if len(units) == 0:
        return
    units = generator.permutation(units)
    units = units[np.argsort(-vectors[units, -1], kind="stable")]
    if len(units) > MAX_SINGLY:
        largest, units, smallest = np.split(units, [MAX_SINGLY // 2, -MAX_SINGLY // 2])
        place_one_by_one(placed, largest, vectors, desired, generator)
        part = draw(vectors[units], desired - placed.T @ vectors, generator)
        np.add.at(placed, (units, part), 1)
        units = smallest
    place_one_by_one(placed, units, vectors, desired, generator)


def place_one_by_one(
    placed: np.ndarray,
    units: np.ndarray,
    vectors: np.ndarray,
    desired: np.ndarray,
    generator: np.random.Generator,
) -> None:
    """Adds ``units``, int (units,) of their kinds, to ``placed`` (kinds, parts) in that order."""
    stratifier = RarestFirst(desired - placed.T @ vectors, generator)
    np.add.at(placed, (units, stratifier.place(vectors[units])), 1)


def draw(counts: np.ndarray, wanted: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Draws the part of each unit by lot, so that parts get nearly what they want of each label.

    This is balanced sampling, as by Deville and Tillé's cube method (Biometrika 2004): one part
    after another takes those units whose random number is below a chance. The chance is linear in
    the unit's counts, and Newton's method moves its coefficients until what is taken adds up.

    Args:
        counts: int, (units, labels): what each unit holds.
        wanted: float, (parts, labels): counts that each part still has room for.

    Returns:
        int, (units,).
    """
    wanted = np.where(wanted[:, -1:] <= 0, 0, wanted.clip(0))
    part = np.full(len(counts), len(wanted) - 1)
    left = np.arange(len(counts))
    for number in range(len(wanted) - 1):
        asked = wanted[number:].sum(axis=0)
        share = np.divide(wanted[number], asked, out=np.zeros_like(asked), where=asked > 0)
        taken = draw_share(counts[left], share, generator)
        part[left[taken]] = number
        left = left[~taken]
    return part


def draw_share(counts: np.ndarray, share: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Takes units that hold nearly ``share`` (float, (labels,)) of each label: bool (units,)."""
    held = counts.astype(np.float32)  # half the memory; the sums are exact enough
    held /= np.maximum(held.sum(axis=0), 1)
    lot = generator.random(len(held), np.float32)
    inverse = np.linalg.pinv((held.T @ held).astype(float), rcond=1e-6, hermitian=True)
    moves = np.zeros(held.shape[1])
    best, least = np.zeros(len(held), bool), np.inf
    for _ in range(MAX_STEPS):
        taken = lot < share[-1] + held @ moves.astype(np.float32)
        lacking = share * (held.sum(axis=0) > 0) - taken.astype(np.float32) @ held
        if (error := np.abs(lacking).max()) < least:
            best, least = taken, error
        moves += inverse @ lacking
    return best


class RarestFirst(IterativeStratification):
    """Iterative stratification (Sechidis et al. 2011) of units, towards any desired counts.

    scikit-multilearn 0.2.0 looks for a label that is rarer *and* part of a larger combination than
    the one before. With single labels that is never true, so it takes them as they come, where the
    paper takes the rarest first, while there is still room to balance it. It also draws from
    NumPy's global state and its time grows with the square of the rows. The labels' distribution
    over the parts is therefore replaced here.

    Args:
        desired: float, (parts, labels): what each part should get of each label; the last label
            is carried by every unit.
        generator: breaks ties.
    """

    def __init__(self, desired: np.ndarray, generator: np.random.Generator) -> None:
        super().__init__(n_splits=len(desired), order=1)
        self.desired, self.generator = desired.copy(), generator

    def place(self, counts: np.ndarray) -> np.ndarray:
        """The part of each unit, int (units,), where ``counts`` is int (units, labels)."""
        self.counts = counts
        parts = np.empty(len(counts), int)
        for part, units in enumerate(self._iter_test_indices(counts, counts > 0)):
            parts[units] = part
        return parts

    def _distribute_positive_evidence(
        self,
        rows_used: dict[int, bool],
        folds: list[list[int]],
        samples_with_combination: dict[tuple[int], list[int]],
        per_row_combinations: list[list[tuple[int]]],
    ) -> None:
        left = {label: len(units) for (label,), units in samples_with_combination.items()}
        while left:
            label = min(left, key=left.__getitem__)
            del left[label]
            for unit in samples_with_combination[label,]:
                if rows_used[unit]:
                    continue
                # The paper's order: who wants the label most, then rows, then by lot. But a part
                # that is full, as a large group can make it, comes after all others.
                noise, room = self.generator.random(len(self.desired)), self.desired[:, -1]
                part = np.lexsort((noise, room, self.desired[:, label], room > 0))[-1]
                folds[part].append(unit)
                rows_used[unit] = True
                self.desired[part] -= self.counts[unit]
                for (other,) in per_row_combinations[unit]:
                    if other in left:
                        left[other] -= 1


def swap(placed: np.ndarray, vectors: np.ndarray, desired: np.ndarray) -> None:
    """Exchanges units between parts, in ``placed`` (kinds, parts), while that brings rates closer.

    What falls is the sum over parts and labels of (count - desired)² / (count in all)², where the
    parts' sizes weigh more than all labels together. Of many kinds, only the most frequent are
    exchanged. An exchange with a unit of no rows is a move.
    """
    totals = desired.sum(axis=0)
    scale = np.divide(1, totals, out=np.zeros_like(totals), where=totals > 0)
    scale[-1] = 2 * len(scale)
    excess = (placed.T @ vectors - desired) * scale
    frequent = np.argsort(-placed.sum(axis=1), kind="stable")[:SWAPPED_KINDS]
    units = np.vstack([vectors[frequent] * scale, np.zeros(len(scale))])
    available = np.vstack([placed[frequent], np.full(placed.shape[1], placed.sum())])
    # Sizes apart: they are so heavy that the labels would drown in their rounding.
    squares = (units[:, :-1] ** 2).sum(axis=1)
    distances = squares[:, None] + squares - 2 * units[:, :-1] @ units[:, :-1].T
    distances += np.subtract.outer(units[:, -1], units[:, -1]) ** 2

    # Pairs of parts take turns until none of them has anything to exchange.
    pairs = deque(combinations(range(placed.shape[1]), 2))
    swaps = settled = 0
    while settled < len(pairs) and swaps < MAX_SWAPS:
        a, b = pairs[0]
        pairs.rotate(-1)
        pull = units @ (excess[a] - excess[b])
        change = distances - pull[:, None] + pull
        change[available[:, a] == 0] = np.inf
        change[:, available[:, b] == 0] = np.inf
        out, back = np.unravel_index(change.argmin(), change.shape)
        if change[out, back] > -TOLERANCE:
            settled += 1
            continue
        # As often as the parabola of the sum falls, and units are there.
        best = (pull[out] - pull[back]) / (2 * distances[out, back])
        times = max(1, min(round(best), available[out, a], available[back, b]))
        excess[[a, b]] += np.outer([-times, times], units[out] - units[back])
        np.add.at(available, ([out, out, back, back], [a, b, b, a]), [-times, times] * 2)
        swaps, settled = swaps + 1, 0
    placed[frequent] = available[:-1]

"""Label rates, sizes and groups of the parts, on label sets made on the spot."""

from itertools import combinations

import numpy as np
import pytest
from skmultilearn.model_selection import IterativeStratification

from stages.csv_tables import parse
from stages.ingest.records import in_natural_order
from stages.split import stratify as stratification
from stages.split.rates import nearest_sums, relative_gaps, smallest_gaps
from stages.split.stratify import RarestFirst, balanced, shares, stratify


def some_labels(rows: int, labels: int = 12, seed: int = 0) -> np.ndarray:
    """Common and rare labels, some rows without any: bool (rows, labels)."""
    return np.random.default_rng(seed).random((rows, labels)) < 0.3 / np.arange(1, labels + 1)


def test_gaps_by_hand():
    labels = np.array([[1, 1, 0], [1, 0, 0], [1, 0, 0], [1, 0, 0]], bool)
    validation = np.array([True, False, False, False])
    # The second label: all of validation, none of train, a quarter of both.
    assert relative_gaps(labels, validation).tolist() == [0, 4, 0]
    # Without it in validation: a third of train against none.
    assert smallest_gaps(labels, validation) == pytest.approx([0, 4 / 3, 0])


def test_gaps_where_labels_are_not_known_of_every_row():
    known = np.array([[1, 0], [1, 0], [1, 1], [0, 1], [0, 1], [1, 1]], bool)
    labels = known & np.array([[1, 1], [0, 1], [1, 1], [1, 0], [0, 0], [0, 0]], bool)
    validation = np.array([True, True, False, False, False, False])
    # The first: a half of the known ones in both. The second is known of no row of validation.
    assert relative_gaps(labels, validation, known).tolist() == [0, 1]
    assert smallest_gaps(labels, validation, known).tolist() == [0, 1]
    everything = np.ones_like(known)
    assert (
        relative_gaps(labels, validation, everything) == relative_gaps(labels, validation)
    ).all()


def every_sum(numbers: np.ndarray) -> set[int]:
    return {sum(some) for n in range(len(numbers) + 1) for some in combinations(numbers, n)}


def test_nearest_sums_are_those_of_all_choices():
    random = np.random.default_rng(0)
    for _ in range(200):
        numbers = random.integers(0, 9, random.integers(0, 8))
        at = random.integers(0, 20)
        sums = every_sum(numbers.tolist())
        below = max(each for each in sums if each <= at)
        above = min((each for each in sums if at < each <= 2 * at + 1), default=below)
        assert nearest_sums(numbers, at) == (below, above)


def test_no_split_of_these_sizes_has_a_smaller_gap_than_the_bound():
    random = np.random.default_rng(0)
    for seed in range(8):
        labels, units = some_labels(24, labels=3, seed=seed), np.sort(random.integers(0, 8, 24))
        validation = np.isin(units, random.choice(8, 3, replace=False))
        if len(set(validation)) < 2:
            continue
        gaps = [
            relative_gaps(labels, each)
            for some in range(9)
            for chosen in combinations(range(8), some)
            if (each := np.isin(units, chosen)).sum() == validation.sum()
        ]
        bound = smallest_gaps(labels, validation, units=units)
        assert (bound <= np.min(gaps, axis=0) + 1e-12).all()
        assert (bound >= smallest_gaps(labels, validation) - 1e-12).all()
    alone = smallest_gaps(labels, validation, units=np.arange(24))
    assert alone.tolist() == smallest_gaps(labels, validation).tolist()


def test_two_parts_are_as_near_as_whole_rows_can_be():
    labels = some_labels(5000)
    part = stratify(labels, np.array([1000, 4000]), seed=1)
    assert np.bincount(part).tolist() == [1000, 4000]
    gaps = relative_gaps(labels, part == 0)
    assert gaps == pytest.approx(smallest_gaps(labels, part == 0))
    by_chance = relative_gaps(labels, np.random.default_rng(1).permutation(part) == 0)
    assert gaps.max() < by_chance.max() / 5


def test_many_folds_share_each_label_to_the_row():
    labels = some_labels(3001)
    sizes = np.array([601, 600, 600, 600, 600])
    part = stratify(labels, sizes, seed=1)
    assert np.bincount(part).tolist() == sizes.tolist()
    counts = np.array([labels[part == fold].sum(axis=0) for fold in range(5)])
    assert np.abs(counts - np.outer(sizes / 3001, labels.sum(axis=0))).max() < 1


def test_label_sets_that_are_nearly_all_different():
    labels = np.random.default_rng(0).integers(0, 3, (2000, 40)) == 0
    part = stratify(labels, np.array([400, 1600]), seed=1)
    assert np.bincount(part).tolist() == [400, 1600]
    by_chance = relative_gaps(labels, np.random.default_rng(1).permutation(part) == 0)
    assert relative_gaps(labels, part == 0).max() < by_chance.max() / 5


def test_rows_without_labels_are_spread():
    labels = some_labels(1000)
    labels[:500] = False
    without = ~labels.any(axis=1)
    for seed in range(10):
        part = stratify(labels, np.array([200, 800]), seed)
        assert (part[without] == 0).sum() == pytest.approx(0.2 * without.sum(), rel=0.02)


def test_no_labels_at_all():
    assert np.bincount(stratify(np.zeros((50, 3), bool), np.array([10, 40]), 1)).tolist() == [
        10,
        40,
    ]
    assert np.bincount(stratify(np.zeros((50, 0), bool), np.array([10, 40]), 1)).tolist() == [
        10,
        40,
    ]


def test_a_label_on_a_single_row_goes_to_the_larger_part():
    labels = np.column_stack([some_labels(200, labels=3), np.zeros(200, bool)])
    labels[77, -1] = True
    for seed in range(5):
        assert stratify(labels, np.array([40, 160]), seed)[77] == 1


def test_groups_stay_together_and_rates_equal():
    labels = some_labels(3000)
    rng = np.random.default_rng(0)
    groups = np.unique(rng.integers(0, 2000, 3000), return_inverse=True)[1]
    part = stratify(labels, np.array([600, 2400]), 1, groups)
    for fold in (0, 1):
        assert not set(groups[part == fold]) & set(groups[part != fold])
    assert np.bincount(part).tolist() == [600, 2400]
    by_chance = relative_gaps(labels, rng.permutation(part) == 0)
    assert relative_gaps(labels, part == 0).max() < by_chance.max() / 3


def test_a_huge_group_leaves_the_rest_in_balance():
    labels = some_labels(3000)
    labels[:1200] = labels[0]
    groups = np.maximum(np.arange(3000) - 1199, 0)
    part = stratify(labels, np.array([600, 2400]), 1, groups)
    assert set(part[:1200]) == {1}
    assert np.bincount(part).tolist() == [600, 2400]
    part = stratify(labels, np.full(5, 600), 1, groups)
    assert sorted(np.bincount(part)) == [450, 450, 450, 450, 1200]
    rest = labels[1200:]
    counts = np.array([rest[part[1200:] == fold].sum(axis=0) for fold in set(part[1200:])])
    assert np.ptp(counts, axis=0).max() <= 1


@pytest.mark.parametrize("sizes", [[1200, 4800], [1500] * 4])
def test_many_groups_are_drawn_at_once_and_rates_equal(
    sizes: list[int], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(stratification, "MAX_SINGLY", 100)
    labels, random = some_labels(6000), np.random.default_rng(0)
    groups = random.integers(0, 1000, 6000)
    groups[:300] = 1000  # a large one among them
    groups = np.unique(groups, return_inverse=True)[1]
    part = stratify(labels, np.array(sizes), 1, groups)
    part_of_group = np.full(groups.max() + 1, -1)
    part_of_group[groups] = part
    assert (part_of_group[groups] == part).all()
    assert np.bincount(part).tolist() == sizes
    by_chance = relative_gaps(labels, random.permutation(part) == 1)
    assert relative_gaps(labels, part == 1).max() < by_chance.max() / 5


def test_rates_are_equal_where_labels_are_known():
    random = np.random.default_rng(1)
    labels, known = some_labels(6000), random.random((6000, 12)) > 0.4
    known[:3000, 3] = False  # nobody was asked
    labels &= known
    part = stratify(balanced(labels, known), np.array([1200, 4800]), 1)
    assert np.bincount(part).tolist() == [1200, 4800]
    ours = relative_gaps(labels, part == 0, known)
    assert ours.max() < relative_gaps(labels, random.permutation(part) == 0, known).max() / 5
    assert known[part == 0].mean(axis=0) == pytest.approx(known.mean(axis=0), abs=0.005)


def test_what_is_known_everywhere_and_labels_on_no_row_change_nothing():
    for seed in range(8):
        labels = some_labels(700, seed=seed)
        assert balanced(labels, None) is labels
        assert balanced(labels, np.ones_like(labels)) is labels
        unused = np.column_stack([np.zeros(700, bool), labels])
        part = stratify(labels, np.array([140, 560]), 1)
        assert (stratify(balanced(unused, None), np.array([140, 560]), 1) == part).all()


def test_a_full_part_gets_no_share():
    # Two kinds: the first label and row, row alone. Part 0 lacks the label, but has no room.
    vectors, numbers = np.array([[1, 1], [0, 1]]), np.array([30, 60])
    wanted = np.array([[10.0, -5.0], [10.0, 40.0], [10.0, 80.0]])
    assert shares(numbers, vectors, wanted).tolist() == [[0, 15, 15], [0, 20, 40]]


def test_a_seed_decides():
    labels, sizes = some_labels(1000), np.array([200, 800])
    assert (stratify(labels, sizes, 1) == stratify(labels, sizes, 1)).all()
    assert (stratify(labels, sizes, 1) != stratify(labels, sizes, 2)).any()


def test_numpys_global_state_is_neither_used_nor_touched():
    labels, sizes = some_labels(1000), np.array([200, 800])
    np.random.seed(1)
    before = np.random.get_state()[1].copy(), np.random.get_state()[2]
    first = stratify(labels, sizes, 1)
    after = np.random.get_state()[1:3]
    assert (before[0] == after[0]).all() and before[1] == after[1]
    np.random.seed(2)
    assert (first == stratify(labels, sizes, 1)).all()


def test_the_rarest_label_comes_first():
    # Label 0 is common and stands first; label 1 is rare and always beside it. The package places
    # label 0 as it comes, and label 1 falls where it falls.
    labels = np.zeros((400, 3), bool)
    labels[:, [0, 2]] = True
    labels[np.random.default_rng(0).choice(400, 20, replace=False), 1] = True

    desired = np.outer([0.2, 0.8], labels.sum(axis=0))
    ours = RarestFirst(desired, np.random.default_rng(0)).place(labels.astype(int))
    assert labels[ours == 0].sum(axis=0).tolist() == [80, 4, 80]

    package = IterativeStratification(2, order=1, sample_distribution_per_fold=[0.2, 0.8])
    validation = next(package._iter_test_indices(labels, labels))
    assert labels[validation].sum(axis=0).tolist() != [80, 4, 80]


@pytest.mark.shared
def test_coco18_is_as_near_as_whole_photos_can_be(shared):
    _, rows = parse((shared / "coco18" / "train.csv").read_text("utf-8"))
    sets = [set(fields[1].split()) for _, fields in rows]
    names = in_natural_order(set.union(*sets))
    labels = np.array([[name in labels for name in names] for labels in sets])
    assert labels.shape == (10_000, 18)
    validation = stratify(labels, np.array([2000, 8000]), seed=7) == 0
    assert relative_gaps(labels, validation) == pytest.approx(smallest_gaps(labels, validation))

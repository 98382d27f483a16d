"""Mixed photos: whose labels count how much, what is known of them, and what captions say."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from stages.network.batches import Batch, Shard
from stages.train.distributed import ALONE, Group
from stages.train.mixing import mix, own_shares, sample_mixtures, with_partners
from stages.train.params import Augment
from tests.train.test_augment import NOTHING

ROWS, SIDE = 6, 20
WHOLE = Shard.all(ROWS)
KINDS = [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 1.0, "cutmix": 1.0}]


def options(**changes: float) -> Augment:
    return Augment(**NOTHING | {"mixed": 1.0} | changes)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def batch(shard: Shard = WHOLE, known: torch.Tensor | None = None) -> Batch:
    """Photo i has the value i + 1 all over, carries label i alone, and has a caption of i words."""
    numbers = torch.arange(1.0, ROWS + 1)
    words = torch.arange(ROWS)[:, None] > torch.arange(ROWS)
    return Batch(
        images=numbers[shard.rows].view(-1, 1, 1, 1).expand(-1, 3, SIDE, SIDE),
        features=None,
        words=words[shard.rows].long(),
        lengths=torch.arange(ROWS)[shard.rows],
        targets=torch.eye(ROWS)[shard.rows],
        known=None if known is None else known[shard.rows],
        known_share=1.0 if known is None else float(known.float().mean()),
        shard=shard,
        whole_known=known,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_labels_count_as_much_as_their_photos_show(kind: dict[str, float]):
    mixed = mix(batch(), slice(0, ROWS), options(**kind), seeded())
    partners = [1, 0, 1, 2, 3, 4]
    shares = mixed.targets.diagonal()
    assert ((shares > 0) & (shares < 1)).all()
    expected = shares[:, None] * torch.eye(ROWS) + (1 - shares[:, None]) * torch.eye(ROWS)[partners]
    assert torch.allclose(mixed.targets, expected)
    shown = mixed.targets @ torch.arange(1.0, ROWS + 1)
    assert torch.allclose(mixed.images.mean(dim=(1, 2, 3)), shown)
    assert mixed.images.shape == (ROWS, 3, SIDE, SIDE)


def test_shares_are_those_of_the_boxes():
    boxes = torch.tensor([[0, 0, 4, 10], [1, 5, 3, 10], [2, 2, 2, 9], [0, 0, 4, 10]])
    shares = own_shares(boxes, torch.tensor([0.7, 0.0, 0.0, 1.0]), (4, 10))
    assert shares.tolist() == pytest.approx([0.7, 1 - 2 * 5 / 40, 1, 1])


def test_numbers_are_drawn_as_the_papers_draw_them():
    sides, many = (100, 80), 20_000
    boxes, weights = sample_mixtures(many, sides, options(mixup=0.4, mixed=0.3), seeded())
    assert float((weights < 1).float().mean()) == pytest.approx(0.3, abs=0.02)
    assert boxes.unique(dim=0).tolist() == [[0, 0, 100, 80]]
    drawn = weights[weights < 1]
    assert float(drawn.mean()) == pytest.approx(0.5, abs=0.02)
    assert float(drawn.var()) == pytest.approx(1 / 4 / (2 * 0.4 + 1), abs=0.01)  # of Beta(0.4, 0.4)

    boxes, weights = sample_mixtures(many, sides, options(cutmix=1.0), seeded())
    assert weights.unique().tolist() == [0]
    assert (boxes >= 0).all()
    assert (boxes[:, 2:] <= torch.tensor(sides)).all()
    inner = ((boxes[:, :2] > 0) & (boxes[:, 2:] < torch.tensor(sides))).all(dim=1)
    heights, widths = (boxes[inner, 2:] - boxes[inner, :2]).unbind(dim=1)
    # Of the photos' shape, but for the pixels that are cut off to make sides even.
    assert ((heights - widths * 100 / 80).abs() <= 2.5).all()

    _, weights = sample_mixtures(many, sides, options(cutmix=1.0, mixup=1.0), seeded())
    assert float((weights == 0).float().mean()) == pytest.approx(0.5, abs=0.02)


def test_a_mixed_decision_is_known_where_both_are():
    known = torch.from_numpy(np.random.default_rng(0).random((ROWS, ROWS)) < 0.6)
    given = options(mixup=1.0, mixed=0.5)
    mixed = mix(batch(known=known), slice(0, ROWS), given, seeded())
    is_mixed = mixed.targets.diagonal() < 1
    assert 0 < is_mixed.sum() < ROWS
    for row, partner in enumerate([1, 0, 1, 2, 3, 4]):
        both = known[row] & known[partner] if is_mixed[row] else known[row]
        assert mixed.known[row].tolist() == both.tolist()
    assert mixed.known_share == pytest.approx(float(mixed.known.float().mean()))


def test_mixed_photos_are_learnt_without_captions_and_all_others_as_they_are():
    stored = batch()
    mixed = mix(stored, slice(0, ROWS), options(cutmix=1.0, mixed=0.5), seeded())
    is_mixed = mixed.targets.diagonal() < 1
    assert not mixed.words[is_mixed].any()
    assert not mixed.lengths[is_mixed].any()
    assert torch.equal(mixed.words[~is_mixed], stored.words[~is_mixed])
    assert torch.equal(mixed.lengths[~is_mixed], stored.lengths[~is_mixed])
    assert torch.equal(mixed.images[~is_mixed], stored.images[~is_mixed])
    assert torch.equal(mixed.targets[~is_mixed], stored.targets[~is_mixed])
    assert torch.equal(stored.words, batch().words)


@pytest.mark.parametrize("devices", [2, 3, 8])
def test_any_number_of_devices_mixes_the_same(devices: int):
    known = torch.from_numpy(np.random.default_rng(0).random((ROWS, ROWS)) < 0.6)
    given = options(mixup=1.0, cutmix=1.0, mixed=0.7)
    whole = mix(batch(known=known), slice(0, ROWS), given, seeded())
    for rank in range(devices):
        shard_of = Group(torch.device("cpu"), rank, devices).shard
        own, read = shard_of(ROWS), with_partners(shard_of)(ROWS)
        assert read.rows.stop - read.rows.start <= own.rows.stop - own.rows.start + 1
        part = mix(batch(read, known), own.rows, given, seeded())
        assert (part.shard, part.known_share) == (own, whole.known_share)
        for name in ("images", "targets", "known", "words", "lengths"):
            assert torch.equal(getattr(part, name), getattr(whole, name)[own.rows]), name


def test_a_lone_row_is_mixed_with_itself_and_nothing_else():
    assert with_partners(ALONE.shard)(1).rows == slice(0, 1)
    lone = replace(batch(Shard(ROWS, slice(2, 3), 1.0)), shard=Shard.all(1))
    mixed = mix(lone, slice(0, 1), options(mixup=1.0), seeded())
    assert torch.allclose(mixed.images, lone.images)
    assert torch.allclose(mixed.targets, lone.targets)

"""Batches: the rows asked for, in order, and nothing that is not used."""

import numpy as np
import pytest
import torch

from stages.ingest.images import ImageStore
from stages.network.batches import Rows
from stages.train.distributed import Group

CPU = torch.device("cpu")


def store(folder, rows: int = 10) -> ImageStore:
    pixels = np.random.default_rng(0).integers(0, 256, (rows, 4, 4, 3), np.uint8)
    np.save(folder / "00000.npy", pixels)
    return ImageStore(folder)


def test_batches_hold_the_rows_asked_for_in_order(tmp_path):
    photos = store(tmp_path)
    words = torch.tensor([[1, 2, 3, 0], [4, 0, 0, 0], [0, 0, 0, 0], [5, 6, 0, 0], [7, 8, 0, 0]])
    targets = torch.arange(10.0).reshape(5, 2)
    rows = Rows(photos, np.array([9, 0, 3, 3, 1]), words, targets)
    order = np.array([3, 1, 4, 0, 2])
    batches = list(rows.batches(2, CPU, order))
    assert [len(batch.targets) for batch in batches] == [2, 2, 1]
    seen = torch.cat([batch.images for batch in batches])
    expected = torch.from_numpy(photos.gather(np.array([3, 0, 1, 9, 3]))).permute(0, 3, 1, 2)
    assert seen.dtype == torch.uint8
    assert torch.equal(seen, expected)
    assert batches[0].images.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(torch.cat([batch.targets for batch in batches]), targets[order])
    assert batches[0].words.tolist() == [[5, 6], [4, 0]]  # cut to the longest
    assert batches[0].lengths.tolist() == [2, 1]
    assert batches[2].words.tolist() == [[0]]
    assert batches[2].lengths.tolist() == [0]


@pytest.mark.parametrize("with_all", [False, True])
def test_rows_that_were_saved_are_the_rows(tmp_path, with_all: bool):
    words = torch.tensor([[1, 2], [4, 0], [0, 0]]) if with_all else None
    known = torch.tensor([[True], [False], [True]]) if with_all else None
    rows = Rows(
        store(tmp_path), np.array([2, 0, 1]), words, torch.tensor([[1.0], [0], [1]]), known=known
    )
    rows.save(tmp_path / "rows")
    (mapped,) = Rows.mapped(tmp_path / "rows", rows.store).batches(3, CPU)
    (expected,) = rows.batches(3, CPU)
    for name in ("images", "words", "lengths", "targets", "known", "whole_known"):
        ours, theirs = getattr(mapped, name), getattr(expected, name)
        assert (ours is None) == (theirs is None), name
        assert ours is None or torch.equal(ours, theirs), name


def test_several_devices_read_their_shards_of_each_batch(tmp_path):
    rows = Rows(store(tmp_path), np.arange(7), None, torch.arange(7.0)[:, None])
    order = np.array([6, 5, 4, 3, 2, 1, 0])
    read = []
    for rank in range(2):
        group = Group(CPU, rank, 2)
        batches = list(rows.batches(4, CPU, order, group.shard))
        assert [batch.shard for batch in batches] == [group.shard(4), group.shard(3)]
        read.append([batch.targets[:, 0].tolist() for batch in batches])
        assert all(len(batch.images) == len(batch.targets) for batch in batches)
    assert read == [[[6, 5], [2]], [[4, 3], [1, 0]]]


def test_each_device_is_told_how_much_is_known_of_the_whole_batch():
    known = torch.tensor([[1, 1], [1, 0], [0, 0], [1, 1], [0, 1]]).bool()
    rows = Rows(None, np.arange(5), None, torch.zeros(5, 2), known=known)
    order, shards = np.array([4, 3, 2, 1, 0]), []
    for rank in range(2):
        shards.append(list(rows.batches(4, CPU, order, Group(CPU, rank, 2).shard)))
    assert [[batch.known_share for batch in each] for each in shards] == [[4 / 8, 1], [4 / 8, 1]]
    first = torch.cat([shards[0][0].known, shards[1][0].known])
    assert torch.equal(first, known[order[:4]])


def test_what_a_network_does_not_use_is_not_read(tmp_path):
    (batch,) = Rows(None, np.arange(3), None, None).batches(8, CPU)
    assert batch.images is None
    assert batch.words is None
    assert batch.targets is None
    assert batch.known is None
    assert list(Rows(None, np.arange(0), None, None).batches(8, CPU)) == []


def test_an_error_while_reading_reaches_the_loop(tmp_path):
    rows = Rows(store(tmp_path), np.array([0, 99_999]), None, None)
    with pytest.raises(IndexError):
        list(rows.batches(2, CPU))


def test_each_row_shows_the_view_that_it_drew_on_any_number_of_devices():
    features = [np.arange(5, dtype=np.float32)[:, None] + 10 * view for view in range(3)]
    rows = Rows(None, np.array([4, 0, 2, 2, 1, 3]), None, None, features)
    order = np.array([5, 3, 4, 0, 1, 2])
    (plain,) = rows.batches(8, CPU, order)
    assert plain.features[:, 0].tolist() == [3, 2, 1, 4, 0, 2]
    drawn = rows.draw_views(seed=1)
    (batch,) = drawn.batches(8, CPU, order)
    photos, views = batch.features[:, 0] % 10, batch.features[:, 0] // 10
    assert photos.tolist() == [3, 2, 1, 4, 0, 2]
    assert views.tolist() == drawn.views[order].tolist()
    assert set(drawn.views) == {0, 1, 2}
    assert drawn.views.tolist() != rows.draw_views(seed=2).views.tolist()
    shards = [next(drawn.batches(8, CPU, order, Group(CPU, rank, 2).shard)) for rank in range(2)]
    assert torch.equal(torch.cat([shard.features for shard in shards]), batch.features)


def test_a_mirrored_batch_has_the_features_of_mirror_images(tmp_path):
    features, mirror = np.zeros((3, 2), np.float32), np.ones((3, 2), np.float32)
    kept = Rows(None, np.array([2, 0]), None, None, [features], mirror_features=mirror)
    (batch,) = kept.batches(8, CPU)
    assert batch.features.unique().tolist() == [0]
    assert batch.mirrored().features.unique().tolist() == [1]
    (batch,) = Rows(store(tmp_path), np.arange(3), None, None).batches(8, CPU)
    assert torch.equal(batch.mirrored().images, batch.images.flip(3))

"""Each row once an epoch; of many rows, each device those of its part of the store."""

import numpy as np
import pytest
import torch

from stages.train.distributed import Group
from stages.train.order import BLOCK, epoch_order


@pytest.mark.parametrize(("rows", "batch"), [(1, 8), (45, 8), (64, 8), (1000, 7), (999, 250)])
@pytest.mark.parametrize("shuffle", [0, 10_000])
def test_each_row_is_shown_once(rows: int, batch: int, shuffle: int):
    order = epoch_order(rows, batch, shuffle, seed=1)
    assert sorted(order.tolist()) == list(range(rows))
    assert order.tolist() == epoch_order(rows, batch, shuffle, seed=1).tolist()


def test_up_to_so_many_rows_any_order_may_be():
    expected = np.random.default_rng(3).permutation(100).tolist()
    assert epoch_order(100, 8, 100, seed=3).tolist() == expected
    assert epoch_order(100, 8, 99, seed=3).tolist() != expected


@pytest.mark.parametrize("devices", [2, 3, 8])
def test_a_device_reads_its_part_of_the_store(devices: int):
    rows, batch = 10_000, 96
    chunks = np.split(epoch_order(rows, batch, 0, seed=5), range(batch, rows, batch))
    for rank in range(devices):
        group = Group(torch.device("cpu"), rank, devices)
        read = np.concatenate([chunk[group.shard(len(chunk)).rows] for chunk in chunks[:-1]])
        part = group.part(rows)
        assert part.start <= read.min()
        assert read.max() < part.stop
        assert len(read) >= (part.stop - part.start) * 0.98


def test_a_place_shows_its_stretch_block_by_block():
    places = epoch_order(64 * BLOCK, 4, 0, seed=7).reshape(-1, 4).T
    for number, place in enumerate(places):
        blocks = place.reshape(16, BLOCK) // BLOCK
        assert (blocks == blocks[:, :1]).all()
        assert sorted(blocks[:, 0]) == list(range(number * 16, number * 16 + 16))
        assert blocks[:, 0].tolist() != sorted(blocks[:, 0])
        assert not (np.diff(place.reshape(16, BLOCK)) == 1).all(axis=1).any()

"""Pieces of a batch: each row is in one, and what is learnt of them is what the batch teaches."""

import pytest
import torch
from torch import nn

from stages.network.batches import Batch, Shard
from stages.network.nets.fusion import Output
from stages.train.accumulation import pieces
from stages.train.distributed import Group
from stages.train.recipe import Optimization
from tests.train.test_recipe import changed


class Linear(nn.Linear):
    """A network without batch norm, of a batch's features."""

    def pretrained_parts(self) -> list[nn.Module]:
        return []

    def forward(self, batch: Batch) -> Output:
        logits = super().forward(batch.features)
        return Output(logits, [(1.0, logits)])


def batch(rows: int, shard: Shard, is_masked: bool) -> Batch:
    generator = torch.Generator().manual_seed(rows)
    features = torch.randn(rows, 4, generator=generator)
    targets = (torch.rand(rows, 3, generator=generator) < 0.4).float()
    known = torch.rand(rows, 3, generator=generator) < 0.6 if is_masked else None
    share = 1.0 if known is None else float(known.float().mean())
    whole = Batch(None, features, None, None, targets, known, share, shard, whole_known=known)
    return whole.part(shard.rows)


def learnt(count: int, rows: int, devices: int, is_masked: bool) -> tuple[float, torch.Tensor]:
    """Loss and gradients of a batch in pieces, the mean over the devices."""
    losses, gradients, numbers = [], [], set()
    for rank in range(devices):
        torch.manual_seed(0)
        network = Linear(4, 3)
        optimization = Optimization(
            network, changed(schedule={"name": "none"}), torch.ones(2, 3), 9
        )
        shard = Group(torch.device("cpu"), rank, devices).shard(rows)
        parts = list(pieces(batch(rows, shard, is_masked), count, devices))
        numbers.add(len(parts))
        losses.append(sum(
            float(optimization.backward(network(each), each.targets, each.shard.weight, each.known,
                                        each.known_share))
            for each in parts
        ))  # fmt: skip
        gradients.append(torch.cat([w.grad.flatten() for w in network.parameters()]))
    assert len(numbers) == 1, "devices wait for each other in each piece"
    return sum(losses) / devices, torch.stack(gradients).mean(dim=0)


@pytest.mark.parametrize("is_masked", [False, True])
@pytest.mark.parametrize("devices", [1, 2, 3])
@pytest.mark.parametrize("rows", [32, 13, 5])  # the last batch of an epoch may be short
def test_pieces_teach_what_the_whole_batch_does(rows: int, devices: int, is_masked: bool):
    loss, gradients = learnt(1, rows, 1, is_masked)
    for count in (2, 3, 8):
        in_pieces, added = learnt(count, rows, devices, is_masked)
        assert in_pieces == pytest.approx(loss, abs=1e-6)
        assert torch.allclose(added, gradients, rtol=0, atol=1e-6)


def test_pieces_are_as_many_as_are_asked_for_but_not_too_small():
    shard = Shard(32, slice(16, 32), 1.0)
    parts = list(pieces(batch(32, shard, False), 3, 2))
    assert [each.shard.rows for each in parts] == [slice(16, 21), slice(21, 26), slice(26, 32)]
    assert sum(each.shard.weight for each in parts) == pytest.approx(1)
    few = list(pieces(batch(7, Shard.all(7), False), 8, 1))
    assert [len(each.targets) for each in few] == [2, 2, 3]
    whole = batch(7, Shard.all(7), False)
    assert list(pieces(whole, 1, 1)) == [whole]

"""Photos mixed in pairs, their labels in the same shares: mixup and cutmix.

``mixup`` blends another photo into the whole of one (Zhang et al. 2018); ``cutmix`` pastes a box of
it (Yun et al. 2019). Each photo draws its own numbers. It is mixed with the one before it in its
batch, the first with the second: rows are in another order each epoch, so that is as good as any
pair, and a device that computes a shard of a batch reads one row more, not all of it.

What two captions say cannot be mixed in shares, and the caption of one photo beside labels of both
would teach that captions are not to be trusted. So mixed photos are learnt without a caption, and
captions from photos that are not mixed.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from stages.network.batches import Batch, Shard
from stages.train.params import Augment
from stages.train.transforms import blend


def with_partners(shard_of: Callable[[int], Shard]) -> Callable[[int], Shard]:
    """Shards as of ``shard_of``, which begin with the row that their own first is mixed with."""

    def wider(whole: int) -> Shard:
        shard = shard_of(whole)
        start, stop = shard.rows.start, shard.rows.stop
        # The first row of all is mixed with the second.
        rows = slice(start - 1, stop) if start else slice(0, min(max(stop, 2), whole))
        return shard._replace(rows=rows)

    return wider


def mix(batch: Batch, own: slice, params: Augment, generator: torch.Generator) -> Batch:
    """The rows ``own`` of a batch, mixed; as they are where photos are not looked at.

    A mixed decision is known where both are.

    Args:
        batch: with images as they are after all other augmentation, of a shard as from
            ``with_partners``.
        own: rows of the whole batch, of which this device learns.
        generator: on the CPU; numbers are drawn for the whole batch.
    """
    shard, images, targets = batch.shard, batch.images, batch.targets
    assert shard is not None and targets is not None
    rows = slice(own.start - shard.rows.start, own.stop - shard.rows.start)
    single = replace(batch.part(rows), shard=shard._replace(rows=own))
    if images is None or single.images is None:
        return single
    sides = (images.shape[2], images.shape[3])
    boxes, weights = sample_mixtures(shard.whole, sides, params, generator)
    shares = own_shares(boxes, weights, sides)
    partners = torch.arange(shard.whole) - 1
    partners[0] = min(1, shard.whole - 1)
    theirs = partners[own] - shard.rows.start
    there = theirs.to(images.device, non_blocking=True)
    share = shares[own, None].to(images.device, non_blocking=True)
    mixed = replace(
        single,
        images=blend(
            single.images, (images[row] for row in theirs.tolist()), boxes[own], weights[own]
        ),
        targets=share * targets[rows] + (1 - share) * targets[there],
    )
    is_mixed = shares < 1
    if batch.known is not None and batch.whole_known is not None:
        both = batch.whole_known & (batch.whole_known[partners] | ~is_mixed[:, None])
        known = batch.known[rows] & (batch.known[there] | (share == 1))
        mixed = replace(mixed, known=known, known_share=float(both.float().mean()))
    if single.words is not None and single.lengths is not None:
        words = single.words.masked_fill(share < 1, 0)
        lengths = single.lengths.masked_fill(is_mixed[own], 0)
        mixed = replace(mixed, words=words, lengths=lengths)
    return mixed


def sample_mixtures(
    photos: int, sides: tuple[int, int], params: Augment, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Where each photo is mixed, and what it weighs itself there, as ``blend`` takes them.

    Args:
        sides: height and width of the photos.

    Returns:
        Boxes, int64 (photos, 4), and weights, float32 (photos,): 1 where a photo is not mixed, 0
        with cutmix.
    """
    numbers = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
    is_mixed = numbers.random(photos) < params.mixed
    # With both on, each photo draws one.
    is_cut = numbers.random(photos) < (params.cutmix > 0) / (1 + (params.mixup > 0))
    blended = numbers.beta(params.mixup or 1, params.mixup or 1, photos)
    kept = numbers.beta(params.cutmix or 1, params.cutmix or 1, photos)
    centres = numbers.integers(sides, size=(photos, 2))
    halves = (np.sqrt(1 - kept)[:, None] * sides).astype(np.int64) // 2
    # What would stick out of the photo is cut off, and counts for nothing.
    cut = np.hstack([centres - halves, centres + halves]).clip(0, (*sides, *sides))
    boxes = np.where(is_cut[:, None], cut, (0, 0, *sides))
    weights = np.where(is_mixed, np.where(is_cut, 0.0, blended), 1.0)
    return torch.from_numpy(boxes), torch.from_numpy(weights).float()


def own_shares(boxes: torch.Tensor, weights: torch.Tensor, sides: tuple[int, int]) -> torch.Tensor:
    """What of a mixed photo is the photo itself, float32 (n,): its labels count as much."""
    heights, widths = (boxes[:, 2:] - boxes[:, :2]).unbind(dim=1)
    return 1 - (1 - weights) * (heights * widths / (sides[0] * sides[1]))

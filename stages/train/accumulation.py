"""Batches in pieces: what a network learns from them is what it would learn from the whole.

Gradients of the pieces add up, so a piece's loss weighs what it has of the batch's rows. Only batch
norm, whose mean is that of the rows it is given, sees a piece for the whole.
"""

from collections.abc import Iterator
from dataclasses import replace

from stages.network.batches import Batch

LEAST = 2  # rows of a piece: batch norm cannot learn from one


def pieces(batch: Batch, count: int, devices: int) -> Iterator[Batch]:
    """Yields this device's rows of ``batch`` in up to ``count`` pieces, equal but for one row.

    Fewer where pieces would be too small, as in the last batch; on all devices as many, since
    these exchange what they find in each.
    """
    shard = batch.shard
    assert shard is not None
    count = max(1, min(count, shard.whole // devices // LEAST))
    start, stop = shard.rows.start, shard.rows.stop
    rows = stop - start
    for number in range(count):
        part = slice(rows * number // count, rows * (number + 1) // count)
        if count == 1:
            yield batch
            return
        weight = shard.weight * (part.stop - part.start) / rows
        own = slice(start + part.start, start + part.stop)
        yield replace(batch.part(part), shard=shard._replace(rows=own, weight=weight))

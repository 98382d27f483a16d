"""Gradient checkpointing: less memory for more computing (Chen et al. 2016).

Of each part of a network only what goes in is kept; what passes within is computed again when the
gradients need it. Nothing else changes: the second time, dropout draws the same numbers, and batch
norm leaves its running statistics alone. (Checkpoints of training, in ``stages.train.checkpoint``,
are something else.)
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from stages.network.nets import backbones
from stages.network.nets.classifier import Classifier
from stages.network.nets.transformer import TransformerEncoder


def recompute_parts(network: Classifier) -> None:
    """Lets the backbone's parts, and the layers of a transformer, be computed again."""
    parts: list[nn.Module] = []
    if network.backbone is not None:
        parts += backbones.parts(network.backbone)
    if isinstance(network.captions, TransformerEncoder):
        parts += list(network.captions.layers())
    for part in parts:
        kind = type(part)
        # A subclass rather than a wrapper: names of weights stay, and copies are copies.
        part.__class__ = type(f"Recomputed{kind.__name__}", (_Recomputed, kind), {})


class _Recomputed(nn.Module):
    def forward(self, *inputs: Any, **options: Any) -> Any:
        if not (self.training and torch.is_grad_enabled()):
            return super().forward(*inputs, **options)
        return checkpoint(
            super().forward,
            *inputs,
            use_reentrant=False,
            context_fn=partial(_contexts, self),
            **options,
        )


def _contexts(part: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Around the first pass through ``part``, and around the second."""
    return nullcontext(), _without_statistics(part)


@contextmanager
def _without_statistics(part: nn.Module) -> Iterator[None]:
    """Lets batch norms keep their statistics in copies, which are forgotten."""
    norms = [module for module in part.modules() if isinstance(module, _BatchNorm)]
    kept = [(norm, name, buffer) for norm in norms for name, buffer in norm.named_buffers()]
    for norm, name, buffer in kept:
        setattr(norm, name, buffer.clone())
    try:
        yield
    finally:
        for norm, name, buffer in kept:
            setattr(norm, name, buffer)

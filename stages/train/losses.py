"""Losses on logits, float32 (n, labels), against targets of 0 and 1 of the same shape."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F

from stages.train.params import Loss

LossFunction = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def loss_function(params: Loss, positive_weights: torch.Tensor | None = None) -> LossFunction:
    """The loss that ``params`` name, as a function of logits and targets to their mean.

    ``bce`` is binary cross-entropy; ``focal`` weighs it by (1 − p)^gamma, p being the probability
    given to what is true (Lin et al. 2017); ``asymmetric`` does so with one gamma for what is true
    and another for what is not, and lets the latter off below a margin (Ridnik et al. 2021);
    ``mse`` is the mean squared error of the probabilities.

    Args:
        positive_weights: of ``bce``: what a true label counts, (labels,), on the device of the
            logits (others are brought there each time); None: as much as one that is not true.
    """

    def bce(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        weights = None if positive_weights is None else positive_weights.to(logits.device)
        return F.binary_cross_entropy_with_logits(logits, targets, pos_weight=weights)

    def focal(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        losses = _focal(logits * (2 * targets - 1), params.gamma)
        if params.alpha is not None:
            losses = losses * torch.where(targets > 0.5, params.alpha, 1 - params.alpha)
        return losses.mean()

    def asymmetric(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        true = _focal(logits, params.gamma_positive)
        untrue = _shifted(logits, params.gamma_negative, params.margin)
        return torch.where(targets > 0.5, true, untrue).mean()

    def mse(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return F.mse_loss(logits.sigmoid(), targets)

    return {"bce": bce, "focal": focal, "asymmetric": asymmetric, "mse": mse}[params.name]


def balancing_weights(targets: torch.Tensor) -> torch.Tensor:
    """What a true label must count for both answers to weigh the same over the rows.

    That is (rows without the label) / (rows with it). A label that all or none of the rows carry
    counts 1: there is nothing to balance, and a weight of 0 or infinity would end its learning.

    Args:
        targets: 0 or 1, (rows, labels).

    Returns:
        float32 (labels,).
    """
    carried = targets.sum(dim=0, dtype=torch.float64)
    weights = (len(targets) - carried) / carried
    return torch.where((weights > 0) & weights.isfinite(), weights, 1.0).float()


def _focal(logits: torch.Tensor, gamma: float) -> torch.Tensor:
    """−(1 − p)^gamma · log p, p = σ(logits), by way of logarithms: no power of a rounded zero."""
    return torch.exp(gamma * F.logsigmoid(-logits)) * -F.logsigmoid(logits)


def _shifted(logits: torch.Tensor, gamma: float, margin: float) -> torch.Tensor:
    """−q^gamma · log(1 − q), q = max(σ(logits) − margin, 0)."""
    log_margin = logits.new_full((), math.log(margin) if margin else -math.inf)
    log_rest = torch.logaddexp(F.logsigmoid(-logits), log_margin)  # log(1 − p + margin)
    shifted = logits.sigmoid() - margin
    # The power is not taken where it is not used: its gradient may be infinite at 0.
    costs = shifted > 0
    return torch.where(costs, torch.where(costs, shifted, 1.0) ** gamma * -log_rest, 0.0)

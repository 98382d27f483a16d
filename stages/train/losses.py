"""Losses on logits, float32 (n, labels), against targets of 0 and 1 of the same shape.

A target between the two, of photos that are mixed, stands for both: the loss is that of 1 and that
of 0 in these shares (Zhang et al. 2018).

Where it is not known of some decisions whether they are true, weights say what each counts.
"""

import math
from typing import Protocol

import torch
import torch.nn.functional as F

from stages.train.params import Loss


class LossFunction(Protocol):
    """Logits, targets and weights, (n, labels) each, to the mean of the weighted losses, a scalar.

    Without weights each decision counts 1.
    """

    def __call__(
        self, logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None
    ) -> torch.Tensor: ...


def loss_function(params: Loss, positive_weights: torch.Tensor | None = None) -> LossFunction:
    """The loss that ``params`` name.

    ``bce`` is binary cross-entropy; ``focal`` weighs it by (1 − p)^gamma, p being the probability
    given to what is true (Lin et al. 2017); ``asymmetric`` does so with one gamma for what is true
    and another for what is not, and lets the latter off below a margin (Ridnik et al. 2021);
    ``mse`` is the mean squared error of the probabilities.

    Args:
        positive_weights: of ``bce``: what a true label counts, (labels,), on the device of the
            logits (others are brought there each time); None: as much as one that is not true.
    """

    def bce(
        logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None
    ) -> torch.Tensor:
        positive = None if positive_weights is None else positive_weights.to(logits.device)
        return F.binary_cross_entropy_with_logits(logits, targets, weights, pos_weight=positive)

    def focal(
        logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None
    ) -> torch.Tensor:
        true, untrue = _focal(logits, params.gamma), _focal(-logits, params.gamma)
        if params.alpha is not None:
            true, untrue = true * params.alpha, untrue * (1 - params.alpha)
        return _mean(_either(targets, true, untrue), weights)

    def asymmetric(
        logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None
    ) -> torch.Tensor:
        true = _focal(logits, params.gamma_positive)
        untrue = _shifted(logits, params.gamma_negative, params.margin)
        return _mean(_either(targets, true, untrue), weights)

    def mse(
        logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None
    ) -> torch.Tensor:
        if weights is None:
            return F.mse_loss(logits.sigmoid(), targets)
        return _mean((logits.sigmoid() - targets).square(), weights)

    functions: dict[str, LossFunction] = {
        "bce": bce, "focal": focal, "asymmetric": asymmetric, "mse": mse,
    }  # fmt: skip
    return functions[params.name]


def training_loss(
    params: Loss, targets: torch.Tensor, known: torch.Tensor | None, device: torch.device
) -> LossFunction:
    """The loss that ``params`` name for training rows, balanced by them where it is to be.

    Args:
        targets: 0 or 1, (rows, labels).
        known: bool, (rows, labels), which are known; None: all.
        device: of the logits to come.
    """
    if params.positive_weight == "none":
        return loss_function(params)
    unknown = unknown_weight(params, targets.shape[1])
    return loss_function(params, balancing_weights(targets, known, unknown).to(device))


def unknown_weight(params: Loss, labels: int) -> float:
    """What a decision of which it is not known whether it is true counts, as one that is not true.

    ``ignore``: nothing; ``negative``: as much as any (assume negative, AN); ``weak-negative``:
    1 / (labels − 1), so that for a photo of which one label is known to be true and nothing else,
    all others together count as much as that one (weak assume negative, WAN; both in Cole et al.,
    Multi-Label Learning from Single Positive Labels, 2021).
    """
    return {"ignore": 0.0, "negative": 1.0, "weak-negative": 1 / max(labels - 1, 1)}[params.unknown]


def decision_weights(known: torch.Tensor, share: float, unknown: float) -> torch.Tensor:
    """What each decision counts in the loss: 1, or ``unknown``, divided by their mean.

    So the weighted losses' mean is the weighted mean: what counts nothing is not divided by either.

    Args:
        known: bool, (n, labels).
        share: how many are known of all decisions over which the mean is to be taken; these may
            be more than ``known`` has, since other devices have theirs.
        unknown: from ``unknown_weight``.

    Returns:
        float32 (n, labels); 0 where none of all those decisions counts.
    """
    mean = share + unknown * (1 - share)
    one = 1 / mean if mean else 0.0
    return torch.where(known, one, unknown * one)


def balancing_weights(
    targets: torch.Tensor, known: torch.Tensor | None = None, unknown: float = 0.0
) -> torch.Tensor:
    """What a true label must count for both answers to weigh the same over the rows.

    That is (rows without the label) / (rows with it). A label that all or none of the rows carry
    counts 1: there is nothing to balance, and a weight of 0 or infinity would end its learning.

    Args:
        targets: 0 or 1, (rows, labels).
        known: bool, (rows, labels), which are known; None: all.
        unknown: how many rows without the label one counts for of which it is not known.

    Returns:
        float32 (labels,).
    """
    carried = targets.sum(dim=0, dtype=torch.float64)
    without = len(targets) - carried
    if known is not None:
        without -= (1 - unknown) * (~known).sum(dim=0)
    weights = without / carried
    return torch.where((weights > 0) & weights.isfinite(), weights, 1.0).float()


def least_loss_logits(
    loss: LossFunction, targets: torch.Tensor, known: torch.Tensor | None = None, unknown: float = 0
) -> torch.Tensor:
    """The logits for which ``loss`` is least where each label has the same one in every row.

    With ``bce`` and ``mse`` they are the log-odds of the labels' rates, balanced 0. Losses that
    weigh decisions by their probabilities are least elsewhere. Half a row with each label and half
    a row without are added to the rows (Jeffreys' prior), so that the logits are finite.

    Args:
        targets, known, unknown: as for ``balancing_weights``.

    Returns:
        float32 (labels,).
    """
    rows = torch.full(targets.shape[1:], len(targets), dtype=torch.float64)
    if known is not None:
        rows -= (1 - unknown) * (~known).sum(dim=0)
    rates = (targets.sum(dim=0, dtype=torch.float64) + 0.5) / (rows + 1)
    answers = torch.stack([torch.ones_like(rates), torch.zeros_like(rates)])
    weights = torch.stack([rates, 1 - rates])
    low, high = torch.full_like(rates, -20), torch.full_like(rates, 20)
    for _ in range(40):  # halvings; float32 could not tell what is left from one more
        logits = ((low + high) / 2).requires_grad_()
        (slopes,) = torch.autograd.grad(loss(logits.expand(2, -1), answers, weights), logits)
        logits = logits.detach()
        low, high = torch.where(slopes < 0, logits, low), torch.where(slopes < 0, high, logits)
    return logits.float()


def _mean(losses: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
    return (losses if weights is None else losses * weights).mean()


def _either(targets: torch.Tensor, true: torch.Tensor, untrue: torch.Tensor) -> torch.Tensor:
    """What is lost where the target is 1, and where it is 0, in the shares that it stands for."""
    return targets * true + (1 - targets) * untrue


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

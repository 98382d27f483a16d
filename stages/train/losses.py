"""Losses on logits, float32 (n, labels), against targets of 0 and 1 of the same shape."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torchvision.ops import sigmoid_focal_loss

from stages.params import Loss


def loss_function(params: Loss) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """The loss that ``params`` name, as a function of logits and targets to their mean.

    ``bce`` is binary cross-entropy; ``focal`` weighs it by (1 − p)^gamma, p being the probability
    given to what is true (Lin et al. 2017).
    """
    if params.name == "bce":
        return F.binary_cross_entropy_with_logits
    alpha = -1 if params.alpha is None else params.alpha  # torchvision's word for "even"

    def focal(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return sigmoid_focal_loss(logits, targets, alpha, params.gamma, reduction="mean")

    return focal

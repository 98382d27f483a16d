"""Ways from the features of photo and caption to a logit for each label."""

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F


class Output(NamedTuple):
    """What a network gives for n rows.

    Attributes:
        logits: the answer, float32 (n, labels).
        weighted_logits: what training learns from: weights and logits, (n, labels) each. The loss
            is the sum of the losses of all of them, times their weights. Most often the answer
            alone, with weight 1.
    """

    logits: torch.Tensor
    weighted_logits: list[tuple[float, torch.Tensor]]


class Concat(nn.Module):
    """The features side by side → ``between`` → dropout → linear."""

    def __init__(self, features: int, outputs: int, dropout: float, between: nn.Module) -> None:
        super().__init__()
        self.between, self.dropout = between, nn.Dropout(dropout)
        self.head = nn.Linear(features, outputs)

    @property
    def heads(self) -> list[nn.Linear]:
        """The last layers, which give logits that a loss is taken of."""
        return [self.head]

    def forward(self, features: list[torch.Tensor], given: torch.Tensor | None) -> Output:
        """Features of the inputs, float32 (n, …) each → logits; ``given`` is not asked."""
        logits = self.head(self.dropout(self.between(torch.cat(features, dim=1))))
        return Output(logits, [(1.0, logits)])


class Late(nn.Module):
    """Two classifiers that know nothing of each other; their probabilities are averaged.

    Each learns by its own loss, so that it becomes what it would have become alone. The photo's
    ``share`` of the average is no parameter: it is found on validation rows
    (``stages.network.network.find_share``). Where there is no caption, the photo decides alone.
    """

    share: torch.Tensor

    def __init__(self, image: int, caption: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.image, self.caption = nn.Linear(image, outputs), nn.Linear(caption, outputs)
        self.register_buffer("share", torch.tensor(0.5))

    @property
    def heads(self) -> list[nn.Linear]:
        """The last layers, which give logits that a loss is taken of."""
        return [self.image, self.caption]

    def forward(self, features: list[torch.Tensor], given: torch.Tensor) -> Output:
        """Features of the photo and of the caption, float32 (n, …) each → logits.

        Args:
            given: bool (n, 1), which rows have a caption.
        """
        image, caption = (
            layer(self.dropout(part))
            for layer, part in zip((self.image, self.caption), features, strict=True)
        )
        mixed = mix(image, caption, self.share)
        logits = torch.where(given, mixed, image)
        return Output(logits, [(1.0, image), (1.0, caption)])


def mix(image: torch.Tensor, caption: torch.Tensor, share: torch.Tensor | float) -> torch.Tensor:
    """The logits of ``share``·σ(image) + (1 − ``share``)·σ(caption)."""

    def log_mean(sign: int) -> torch.Tensor:
        parts = torch.stack([F.logsigmoid(sign * image), F.logsigmoid(sign * caption)])
        weights = torch.stack([torch.as_tensor(share), 1 - torch.as_tensor(share)])
        return (parts + weights.to(parts).log()[:, None, None]).logsumexp(dim=0)

    return log_mean(1) - log_mean(-1)

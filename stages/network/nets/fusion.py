"""Ways from the features of photo and caption to a logit for each label."""

from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from stages.network.nets.places import FeatureDropout

MOST_WEIGHT = 5.0  # of an expert; where it never errs, the loss would want it without end


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
    """The features side by side → ``between`` → dropout → ``head``, the last layer."""

    def __init__(self, head: nn.Linear, dropout: float, between: nn.Module) -> None:
        super().__init__()
        self.between, self.dropout, self.head = between, FeatureDropout(dropout), head

    @property
    def heads(self) -> list[nn.Linear]:
        """The last layers, which give logits that a loss is taken of."""
        return [self.head]

    def forward(self, features: list[torch.Tensor | None], given: torch.Tensor | None) -> Output:
        """Features of the inputs, float32 (n, …) each → logits.

        Args:
            features: None for one of two inputs that is missing; zeros take its place.
            given: is not asked; a missing caption's features are zeros already.
        """
        there = next(part for part in features if part is not None)
        rest = self.head.in_features - there.shape[1]
        parts = [there.new_zeros(len(there), rest) if p is None else p for p in features]
        logits = self.head(self.dropout(self.between(torch.cat(parts, dim=1))))
        return Output(logits, [(1.0, logits)])


class Experts(nn.Module):
    """Two classifiers that know nothing of each other, one of the photo and one of the caption.

    Each learns by its own loss, so that it becomes what it would have become alone. Where one of
    the inputs is missing, the other decides. How much each counts in the answer to both is no
    parameter, for both know the training rows too well: it is ``fit`` to validation rows.

    Args:
        image, caption: the last layer of each.
    """

    def __init__(self, image: nn.Linear, caption: nn.Linear, dropout: float) -> None:
        super().__init__()
        self.dropout, self.image, self.caption = FeatureDropout(dropout), image, caption

    @property
    def heads(self) -> list[nn.Linear]:
        """The last layers, which give logits that a loss is taken of."""
        return [self.image, self.caption]

    def join(self, image: torch.Tensor, caption: torch.Tensor) -> torch.Tensor:
        """Logits of the photo and of the caption, (n, labels) each → those of both."""
        raise NotImplementedError

    def fit(
        self, image: torch.Tensor, caption: torch.Tensor, truth: torch.Tensor, weight: torch.Tensor
    ) -> None:
        """Sets how much each counts so that the log loss of the answer is least.

        Args:
            image, caption: logits, float64 (n, labels), on the CPU, of one row or more.
            truth: of 0 and 1, of the same form.
            weight: what each decision counts, of the same form.
        """
        raise NotImplementedError

    def forward(self, features: list[torch.Tensor | None], given: torch.Tensor) -> Output:
        """Features of the photo, or of its places, and of the caption, float32 (n, …) → logits.

        Args:
            features: those of the photo are None where it is missing.
            given: bool (n, 1), which rows have a caption.
        """
        image_features, caption_features = features
        assert caption_features is not None
        if image_features is None:
            caption = self.caption(self.dropout(caption_features))
            return Output(caption, [(1.0, caption)])
        image = self.image(self.dropout(image_features))
        caption = self.caption(self.dropout(caption_features))
        logits = torch.where(given, self.join(image, caption), image)
        return Output(logits, [(1.0, image), (1.0, caption)])


class Late(Experts):
    """Experts whose probabilities are averaged; the photo's ``share`` of the average is fit."""

    share: torch.Tensor

    def __init__(self, image: nn.Linear, caption: nn.Linear, dropout: float) -> None:
        super().__init__(image, caption, dropout)
        self.register_buffer("share", torch.tensor(0.5))

    def join(self, image: torch.Tensor, caption: torch.Tensor) -> torch.Tensor:
        return mix(image, caption, self.share)

    def fit(
        self, image: torch.Tensor, caption: torch.Tensor, truth: torch.Tensor, weight: torch.Tensor
    ) -> None:
        from scipy.optimize import minimize_scalar  # half a second, and seldom wanted

        def loss(share: float) -> float:
            mixed = mix(image, caption, share)
            return float(F.binary_cross_entropy_with_logits(mixed, truth, weight))

        self.share.fill_(float(minimize_scalar(loss, bounds=(0, 1), method="bounded").x))


class Product(Experts):
    """Experts whose evidence is added, so that their odds are multiplied.

    A logit tells the ``prior``, the logit that a label has as long as nothing is known of a photo,
    and what the photo, or the caption, adds to it. The answer is the prior plus what each adds,
    times its weight. Where the two are independent, as naive Bayes has it, the weights are 1; where
    both saw the same, they share (Hinton, Products of Experts, 1999). The two weights are fit.
    """

    prior: torch.Tensor
    weights: torch.Tensor

    def __init__(self, image: nn.Linear, caption: nn.Linear, dropout: float) -> None:
        super().__init__(image, caption, dropout)
        self.register_buffer("prior", torch.zeros(image.out_features))
        self.register_buffer("weights", torch.tensor([0.5, 0.5]))

    def join(self, image: torch.Tensor, caption: torch.Tensor) -> torch.Tensor:
        of_image, of_caption = self.weights[0], self.weights[1]
        return self.prior + of_image * (image - self.prior) + of_caption * (caption - self.prior)

    def fit(
        self, image: torch.Tensor, caption: torch.Tensor, truth: torch.Tensor, weight: torch.Tensor
    ) -> None:
        from scipy.optimize import minimize  # half a second, and seldom wanted

        prior = self.prior.cpu().double()
        evidence = torch.stack([image - prior, caption - prior])

        def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
            joined = prior + torch.tensordot(torch.from_numpy(weights), evidence, 1)
            errors = weight * (joined.sigmoid() - truth)
            slopes = (errors * evidence).mean(dim=(1, 2))
            value = F.binary_cross_entropy_with_logits(joined, truth, weight)
            return float(value), slopes.numpy()

        # To the end (tol), so that rounding, as of several devices, does not decide where it stops.
        bounds = [(0, MOST_WEIGHT)] * 2
        found = minimize(loss, [0.5, 0.5], jac=True, bounds=bounds, method="L-BFGS-B", tol=1e-12)
        self.weights.copy_(torch.from_numpy(found.x))


def mix(image: torch.Tensor, caption: torch.Tensor, share: torch.Tensor | float) -> torch.Tensor:
    """The logits of ``share``·σ(image) + (1 − ``share``)·σ(caption)."""

    def log_mean(sign: int) -> torch.Tensor:
        parts = torch.stack([F.logsigmoid(sign * image), F.logsigmoid(sign * caption)])
        weights = torch.stack([torch.as_tensor(share), 1 - torch.as_tensor(share)])
        return (parts + weights.to(parts).log()[:, None, None]).logsumexp(dim=0)

    return log_mean(1) - log_mean(-1)

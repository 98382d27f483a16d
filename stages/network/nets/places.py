"""What a photo shows, place by place: a label is a question of whether something is somewhere."""

from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from stages import UserError

SHARE = 0.3  # of the evidence of the strongest places, beside the mean of all


class PlaceAttention(nn.Linear):
    """A last layer that asks each place of a photo, and pays attention where a label is likeliest.

    The logit of a label is its mean over all places, and beside that its mean weighted by its own
    softmax over them: what is small is not lost in the average. No parameter more than a linear
    layer has (residual attention with one head and temperature 1: Zhu & Wu, ICCV 2021).
    """

    def forward(self, places: torch.Tensor) -> torch.Tensor:
        """float32 (n, places, features) → logits (n, labels)."""
        evidence = F.linear(places, self.weight)
        strongest = (evidence.softmax(dim=1) * evidence).sum(dim=1)
        return evidence.mean(dim=1) + SHARE * strongest + self.bias


class FeatureDropout(nn.Dropout):
    """Dropout of features; what is left out of a photo is left out of all its places."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """float32 (n, features) or (n, places, features) → the same."""
        if features.dim() == 2 or not self.training:
            return super().forward(features)
        return features * super().forward(torch.ones_like(features[:, :1]))


def give_places(backbone: nn.Module, features: int, refusal: str) -> None:
    """Has a backbone that ends in maps, (n, ``features``, h, w), give (n, places, ``features``).

    Maps may have their channels last, and a transformer's tokens are places already, but for those
    that are of none. What ends in anything else raises a ``UserError`` with ``refusal`` when it is
    given a photo.
    """
    prefix = getattr(backbone, "num_prefix_tokens", 0)
    # A hook, not a module around it: the weights keep their names.
    backbone.register_forward_hook(
        partial(_places, features=features, prefix=prefix, refusal=refusal)
    )


def _places(
    module: nn.Module, _: object, maps: torch.Tensor, features: int, prefix: int, refusal: str
) -> torch.Tensor:
    if not torch.is_tensor(maps) or maps.dim() not in (3, 4):
        raise UserError(refusal)
    if maps.dim() == 3:
        return maps[:, prefix:]
    return (maps if maps.shape[-1] == features else maps.permute(0, 2, 3, 1)).flatten(1, 2)

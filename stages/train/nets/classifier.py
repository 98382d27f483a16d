"""From photo, caption or both to a logit for each label."""

import torch
from torch import nn

from stages.train.batches import Batch


class Classifier(nn.Module):
    """The features of the backbone and of the caption encoder, side by side → dropout → linear.

    Args:
        backbone: maps (n, 3, h, w) to (n, features); None: photos are not looked at.
        image_features: its number of features.
        captions: a ``CaptionEncoder``; None: captions are not read.
        frozen: the backbone stays as it is, running statistics of batch norm included.
    """

    def __init__(
        self,
        backbone: nn.Module | None,
        image_features: int,
        captions: nn.Module | None,
        outputs: int,
        dropout: float,
        frozen: bool = False,
    ) -> None:
        super().__init__()
        self.backbone, self.captions, self.frozen = backbone, captions, frozen
        self.dropout = nn.Dropout(dropout)
        caption_features = captions.features if captions is not None else 0
        self.head = nn.Linear(image_features + caption_features, outputs)
        if backbone is not None and frozen:
            backbone.requires_grad_(False)

    def train(self, mode: bool = True) -> "Classifier":
        super().train(mode)
        if self.backbone is not None and self.frozen:
            self.backbone.eval()
        return self

    def forward(self, batch: Batch) -> torch.Tensor:
        """A batch with float images, (n, 3, h, w) → logits (n, labels)."""
        features = []
        if self.backbone is not None:
            features.append(self.backbone(batch.images))
        if self.captions is not None:
            features.append(self.captions(batch.words, batch.lengths))
        return self.head(self.dropout(torch.cat(features, dim=1)))

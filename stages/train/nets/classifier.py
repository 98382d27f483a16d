"""From photo, caption or both to a logit for each label."""

import torch
from torch import nn

from stages.train.batches import Batch


class Classifier(nn.Module):
    """Normalised features of the photo and features of the caption, side by side → linear.

    Args:
        backbone: maps (n, 3, h, w) to (n, features); None: photos are not looked at.
        image_features: its number of features.
        captions: a ``CaptionEncoder``; None: captions are not read.
        caption_dropout: fraction of the captions left out while training on both, so that the
            photo has to be learnt as well (a modality is dropped whole: Neverova et al. 2015).
        frozen: the backbone stays as it is, running statistics of batch norm included.
    """

    def __init__(
        self,
        backbone: nn.Module | None,
        image_features: int,
        captions: nn.Module | None,
        outputs: int,
        dropout: float,
        caption_dropout: float = 0.0,
        frozen: bool = False,
    ) -> None:
        super().__init__()
        self.backbone, self.captions, self.frozen = backbone, captions, frozen
        # Backbones differ a hundredfold in the scale of their features; the rate suits one scale.
        self.norm = nn.LayerNorm(image_features) if backbone is not None else None
        self.dropout = nn.Dropout(dropout)
        self.caption_dropout = caption_dropout if backbone is not None else 0.0
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
            features.append(self.norm(self.backbone(batch.images)))
        if self.captions is not None:
            # A photo without a caption has features of zero, as one whose caption is left out.
            given = batch.words[:, :1] != 0
            if self.training:
                given &= torch.rand(given.shape, device=given.device) >= self.caption_dropout
            features.append(self.captions(batch.words, batch.lengths) * given)
        # In single precision: with the 8 bits of bf16 many probabilities would be equal.
        with torch.autocast(self.head.weight.device.type, enabled=False):
            return self.head(self.dropout(torch.cat(features, dim=1).float()))

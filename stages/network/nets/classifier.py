"""From photo, caption or both to a logit for each label."""

from collections.abc import Sequence

import torch
from torch import nn

from stages.network.batches import Batch
from stages.network.nets import backbones
from stages.network.nets.caption import CaptionEncoder
from stages.network.nets.fusion import Concat, Experts, Output
from stages.network.nets.torchvision_backbones import auxiliary_heads
from stages.network.nets.transformer import TransformerEncoder

AUXILIARY_WEIGHT = 0.3  # of an auxiliary head's loss (Szegedy et al. 2015)

Encoder = CaptionEncoder | TransformerEncoder


class Classifier(nn.Module):
    """Features of the photo and features of the caption, joined to a logit for each label.

    Args:
        backbone: maps (n, 3, h, w) to (n, features), or to (n, places, features); None: photos are
            not looked at.
        norm: of the features of a photo, or of a place.
        captions: None: captions are not read.
        fusion: maps the features to an ``Output``.
        caption_dropout: fraction of the captions left out while training on both, so that the
            photo has to be learnt as well (a modality is dropped whole: Neverova et al. 2015).
            Not where each of the two learns alone (``Experts``).
        frozen: the backbone stays as it is, running statistics of batch norm included.
        pretrained: those of the parts above that did not start from random weights.
    """

    def __init__(
        self,
        backbone: nn.Module | None,
        norm: nn.Module,
        captions: Encoder | None,
        fusion: Concat | Experts,
        caption_dropout: float = 0.0,
        frozen: bool = False,
        pretrained: Sequence[nn.Module] = (),
    ) -> None:
        super().__init__()
        self.backbone, self.norm, self.captions, self.fusion = backbone, norm, captions, fusion
        alone = backbone is None or isinstance(fusion, Experts)
        self.caption_dropout = 0.0 if alone else caption_dropout
        self._frozen: list[nn.Module] = []
        self._pretrained = list(pretrained)
        if backbone is not None and frozen:
            self._frozen = [backbone]
            backbone.requires_grad_(False)

    @property
    def has_experts(self) -> bool:
        """Whether photo and caption have an expert each, whose answers are joined."""
        return isinstance(self.fusion, Experts)

    def pretrained_parts(self) -> list[nn.Module]:
        """The parts whose rate ``train.pretrained_lr`` scales."""
        return self._pretrained

    def heads(self) -> list[nn.Linear]:
        """The last layers, those of the backbone's auxiliary heads included."""
        auxiliary = [] if self.backbone is None else auxiliary_heads(self.backbone)
        return [*self.fusion.heads, *auxiliary]

    def unfreeze(self, count: int) -> None:
        """Lets the ``count`` topmost parts of the backbone learn, and no others."""
        assert self.backbone is not None
        parts = backbones.parts(self.backbone)
        below = len(parts) - count
        self._frozen = parts[: max(0, below)]
        for place, part in enumerate(parts):
            part.requires_grad_(place >= below)
        for weight in self.backbone.parameters(recurse=False):  # as position embeddings
            weight.requires_grad_(below <= 0)

    def train(self, mode: bool = True) -> "Classifier":
        super().train(mode)
        for part in self._frozen:
            part.eval()
        return self

    def forward(self, batch: Batch) -> Output:
        """A batch with features of the photos, or float images (n, 3, h, w) → its ``Output``.

        With neither, the photos are missing: what the captions say without them.
        """
        features: list[torch.Tensor | None] = []
        auxiliary: list[torch.Tensor] = []
        given: torch.Tensor | None = None
        if self.backbone is not None:
            seen = None if batch.features is None else batch.features.float()
            if batch.images is not None:
                seen = self.backbone(batch.images)
            image, *auxiliary = seen if isinstance(seen, tuple) else (seen,)
            if image is not None:
                image = self.norm(image.flatten(0, -2)).view_as(image).float()
            features.append(image)
        if self.captions is not None:
            assert batch.words is not None
            # A photo without a caption has features of zero, as one whose caption is left out.
            given = batch.words[:, :1] != 0
            if self.training and self.caption_dropout:
                given &= torch.rand(given.shape, device=given.device) >= self.caption_dropout
            features.append((self.captions(batch.words, batch.lengths) * given).float())
        # In single precision: with the 8 bits of bf16 many probabilities would be equal.
        device = next(self.parameters()).device
        with torch.autocast(device.type, enabled=False):
            output: Output = self.fusion(features, given)
        output.weighted_logits.extend((AUXILIARY_WEIGHT, logits.float()) for logits in auxiliary)
        return output

"""From photos as they are stored and rows of words to calibrated probabilities, as one module.

The torch runtime runs it, and what is exported is made from it.
"""

import numpy as np
import torch
from torch import nn

from stages.bundle.bundle import Bundle
from stages.network.batches import Batch
from stages.network.description import Description
from stages.network.nets.classifier import Classifier
from stages.network.network import answer, rebuilt
from stages.network.precision import autocast
from stages.network.preprocess import prepare
from stages.network.tokens import PADDING, Words


class InferenceModule(nn.Module):
    """A network with all that comes before and after it: crop, normalisation, mirror, calibration.

    Args:
        temperature: what logits are divided by.
    """

    def __init__(self, network: Classifier, description: Description, temperature: float) -> None:
        super().__init__()
        self.network, self.description, self.temperature = network, description, temperature
        self.eval()

    @classmethod
    def of(cls, bundle: Bundle, words: Words | None) -> "InferenceModule":
        """That of a bundle, on the CPU; ``words`` is what makes numbers of captions for it."""
        network = rebuilt(bundle.description, words, bundle.folder)
        return cls(network, bundle.description, bundle.temperature)

    @torch.inference_mode()
    def ask(self, inputs: dict[str, np.ndarray], precision: str = "fp32") -> np.ndarray:
        """``forward`` of arrays, on the device of the network, in a number format of AMP."""
        device = next(self.parameters()).device
        given = {name: torch.from_numpy(rows).to(device) for name, rows in inputs.items()}
        with autocast(device, precision)():
            probabilities: torch.Tensor = self(**given)
            return probabilities.float().cpu().numpy()

    def ask_features(
        self, inputs: dict[str, np.ndarray], precision: str = "fp32"
    ) -> tuple[np.ndarray, np.ndarray]:
        """``ask``, and what the last layers see: float32 (n, features); not of the mirror image.

        Of a photo's places it is the mean.
        """
        seen: list[torch.Tensor] = []
        heads = self.network.fusion.heads
        hooks = [
            head.register_forward_pre_hook(lambda _, given: seen.append(given[0])) for head in heads
        ]
        try:
            probabilities = self.ask(inputs, precision)
        finally:
            for hook in hooks:
                hook.remove()
        means = [part.mean(dim=1) if part.dim() == 3 else part for part in seen[: len(heads)]]
        return probabilities, torch.cat(means, dim=1).float().cpu().numpy()

    def forward(
        self, photos: torch.Tensor | None = None, words: torch.Tensor | None = None
    ) -> torch.Tensor:
        """What the network takes of the two → float32 (n, labels).

        Args:
            photos: uint8 (n, stored size, stored size, 3), RGB.
            words: int64 (n, words), padded at the end; all padding where there is no caption.
        """
        images = lengths = None
        if photos is not None:
            seen = self.description
            images = prepare(photos.permute(0, 3, 1, 2), seen.crop, seen.mean, seen.std)
        if words is not None:
            lengths = (words != PADDING).sum(dim=1).cpu()  # where packing needs them
        batch = Batch(images, None, words, lengths, None)
        logits = answer(self.network, batch, self.description.flip)
        return (logits / self.temperature).sigmoid()

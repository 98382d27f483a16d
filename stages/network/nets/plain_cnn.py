"""The plain convolutional network that S4 trains from scratch, without batch norm or shortcuts."""

import torch
from torch import nn

STAGES = ((32, 32), (64, 64), (128, 128, 128), (256, 256, 256), (512, 512, 512))
HIDDEN = 100
DROPOUT = 0.5


class PlainCNN(nn.Module):
    """3 × 3 convolutions with ReLU, 2 × 2 max pooling between the stages, two linear layers.

    At 128 × 128 and with a last layer for 14 labels it has 11,098,110 parameters.

    Args:
        input_size: height and width of the photos, in pixels; at least 16.
    """

    features = HIDDEN

    def __init__(self, input_size: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for stage in STAGES:
            for after in stage:
                layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(inplace=True)]
                before = after
            layers.append(nn.MaxPool2d(2))
        self.blocks = nn.Sequential(*layers[:-1])
        side = input_size // 2 ** (len(STAGES) - 1)
        self.hidden = nn.Sequential(
            nn.Flatten(),
            nn.Linear(before * side**2, HIDDEN),
            nn.ReLU(inplace=True),
            nn.Dropout(DROPOUT),
            nn.Linear(HIDDEN, HIDDEN),
            nn.ReLU(inplace=True),
        )
        # Thirteen layers without batch norm do not learn from PyTorch's smaller start (He 2015).
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(n, 3, h, w) → (n, 100)."""
        features: torch.Tensor = self.hidden(self.blocks(images))
        return features

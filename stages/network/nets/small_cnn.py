"""A small convolutional network that learns small photos from scratch, on a CPU in a minute."""

import torch
from torch import nn

CHANNELS = (16, 32, 64, 128)


class SmallCNN(nn.Module):
    """Four blocks of 3 × 3 convolution, batch norm, ReLU and 2 × 2 max pooling.

    The features are the largest answers over the whole photo: a label is a question of whether
    something is there, not where. 0.1 million parameters.
    """

    features = CHANNELS[-1]

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in zip((3, *CHANNELS), CHANNELS, strict=False):
            layers += [
                nn.Conv2d(before, after, 3, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(inplace=True),
                nn.MaxPool2d(2),
            ]
        # The last block keeps its resolution: it is the one that looks for things.
        self.blocks = nn.Sequential(*layers[:-1])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(n, 3, h, w) → (n, 128)."""
        maps: torch.Tensor = self.blocks(images)
        return maps.amax(dim=(2, 3))

"""AlexNet (Krizhevsky et al., 2012) in its one-column form (Krizhevsky, 2014), with torchvision's keys."""

from __future__ import annotations

from typing import Any

from .. import nn
from .._core import Tensor


class AlexNet(nn.Module):
    """Five convolutions and three fully connected layers.    [N, 3, 224, 224] -> [N, num_classes]"""

    def __init__(self, num_classes: int = 1000, dropout: float = 0.5, in_channels: int = 3) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 64, kernel_size=11, stride=4, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Conv2d(64, 192, kernel_size=5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Conv2d(192, 384, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(384, 256, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(256, 256, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(kernel_size=3, stride=2),
        )
        self.avgpool = nn.AdaptiveAvgPool2d((6, 6))
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(256 * 6 * 6, 4096),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(),
            nn.Linear(4096, num_classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)  # [N, 3, 224, 224] -> [N, 256, 6, 6]
        x = self.avgpool(x)  # other input sizes -> [N, 256, 6, 6]
        return self.classifier(x.flatten(1))  # [N, 9216] -> [N, num_classes]


def alexnet(num_classes: int = 1000, **options: Any) -> AlexNet:
    """61,100,840 parameters."""
    return AlexNet(num_classes, **options)

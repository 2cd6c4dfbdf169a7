"""VGG (Simonyan and Zisserman, 2014), with torchvision's keys."""

from __future__ import annotations

from typing import Any

from .. import nn
from .._core import Tensor

CONFIGURATIONS: dict[str, tuple[int | str, ...]] = {  # channels of 3 x 3 convolutions; M: 2 x 2 max pooling
    "vgg11": (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"),
    "vgg13": (64, 64, "M", 128, 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"),
    "vgg16": (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"),
    "vgg19": (64, 64, "M", 128, 128, "M", 256, 256, 256, 256, "M", 512, 512, 512, 512, "M", 512, 512, 512, 512, "M"),
}


class VGG(nn.Module):
    """3 x 3 convolutions, pooled five times, then three fully connected layers.    [N, 3, 224, 224] -> [N, 1000]"""

    def __init__(
        self, configuration: str = "vgg11", num_classes: int = 1000, batch_norm: bool = False, dropout: float = 0.5,
        in_channels: int = 3,
    ) -> None:  # fmt: skip
        super().__init__()
        layers: list[nn.Module] = []
        channels = in_channels
        for item in CONFIGURATIONS[configuration]:
            if isinstance(item, str):
                layers.append(nn.MaxPool2d(2, 2))
                continue
            layers.append(nn.Conv2d(channels, item, kernel_size=3, padding=1))
            if batch_norm:
                layers.append(nn.BatchNorm2d(item))
            layers.append(nn.ReLU())
            channels = item
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(4096, num_classes),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0.0, 0.01)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)  # [N, 3, 224, 224] -> [N, 512, 7, 7]
        x = self.avgpool(x)  # other input sizes -> [N, 512, 7, 7]
        x = x.flatten(1)  # -> [N, 25088]
        return self.classifier(x)  # -> [N, 1000]


def vgg(configuration: str = "vgg11", num_classes: int = 1000, **options: Any) -> VGG:
    """vgg11, vgg13, vgg16 or vgg19; batch_norm=True for the variant with batch normalization."""
    return VGG(configuration, num_classes, **options)

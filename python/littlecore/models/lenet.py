"""LeNet-like convolutional network for 28 x 28 images."""

from __future__ import annotations

from typing import Any

from .. import nn
from .._core import Tensor
from ..nn import functional as F
from ..nn.linear import linear_activation


class LeNet(nn.Module):
    """The network of The Little Book of Deep Learning, section 5.2: 105,506 parameters.    [N, 1, 28, 28] -> [N, 10]

    Max pooling comes before the activation, as in the book's figure.
    """

    def __init__(self, num_classes: int = 10, in_channels: int = 1, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        kind = {"device": device, "dtype": dtype}
        self.conv1 = nn.Conv2d(in_channels, 32, kernel_size=5, **kind)
        self.conv2 = nn.Conv2d(32, 64, kernel_size=5, **kind)
        self.fc1 = nn.Linear(256, 200, **kind)
        self.fc2 = nn.Linear(200, num_classes, **kind)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)  # [N, 1, 28, 28] -> [N, 32, 24, 24]
        x = F.relu(F.max_pool2d(x, 3))  # -> [N, 32, 8, 8]
        x = self.conv2(x)  # -> [N, 64, 4, 4]
        x = F.relu(F.max_pool2d(x, 2))  # -> [N, 64, 2, 2]
        x = x.flatten(1)  # -> [N, 256]
        x = linear_activation(self.fc1, F.relu, x)  # -> [N, 200]
        return self.fc2(x)  # -> [N, 10]


def lenet(num_classes: int = 10, **options: Any) -> LeNet:
    """LeNet with `num_classes` outputs."""
    return LeNet(num_classes, **options)

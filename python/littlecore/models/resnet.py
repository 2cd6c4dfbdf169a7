"""Residual networks (He et al., 2015) with torchvision's keys; resnet20 is the paper's one for 32 x 32 images."""

from __future__ import annotations

from typing import Any

from .. import nn
from .._core import Tensor
from ..nn import functional as F


def conv(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Conv2d:
    """A convolution without bias that keeps the size but for its stride."""
    return nn.Conv2d(inputs, outputs, kernel_size=size, stride=stride, padding=size // 2, bias=False)


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and a skip connection.    [N, C, H, W] -> [N, channels, H/stride, W/stride]"""

    expansion = 1

    def __init__(self, inputs: int, channels: int, stride: int = 1, downsample: nn.Module | None = None) -> None:
        super().__init__()
        self.conv1 = conv(inputs, channels, 3, stride)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = conv(channels, channels, 3)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 (with the stride), 1 x 1 convolutions and a skip connection; 4 * channels come out."""

    expansion = 4

    def __init__(self, inputs: int, channels: int, stride: int = 1, downsample: nn.Module | None = None) -> None:
        super().__init__()
        self.conv1 = conv(inputs, channels, 1)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = conv(channels, channels, 3, stride)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = conv(channels, channels * self.expansion, 1)
        self.bn3 = nn.BatchNorm2d(channels * self.expansion)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))  # [N, C, H, W] -> [N, channels, H, W]
        y = F.relu(self.bn2(self.conv2(y)))  # -> [N, channels, H/s, W/s]
        y = self.bn3(self.conv3(y))  # -> [N, 4*channels, H/s, W/s]
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class Subsample(nn.Module):
    """A skip connection without parameters: every second pixel, zeros for the new channels.

    [N, C, H, W] -> [N, 2C, H/2, W/2]
    """

    def forward(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, channels // 2, channels - channels // 2))


def initialize(model: nn.Module) -> None:
    """Kaiming normal convolutions (fan_out), as the paper; batch norms are born as the identity."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


class ResNet(nn.Module):
    """Stem, four stages of blocks, average pool, linear.    [N, 3, 224, 224] -> [N, num_classes]"""

    def __init__(
        self, block: type[BasicBlock] | type[Bottleneck], layers: tuple[int, ...], num_classes: int = 1000,
        in_channels: int = 3,
    ) -> None:  # fmt: skip
        super().__init__()
        self.inplanes = 64
        self.conv1 = nn.Conv2d(in_channels, 64, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.layer1 = self._stage(block, 64, layers[0], 1)
        self.layer2 = self._stage(block, 128, layers[1], 2)
        self.layer3 = self._stage(block, 256, layers[2], 2)
        self.layer4 = self._stage(block, 512, layers[3], 2)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(512 * block.expansion, num_classes)
        initialize(self)

    def _stage(self, block: Any, channels: int, count: int, stride: int) -> nn.Sequential:
        outputs = channels * block.expansion
        downsample = None
        if stride != 1 or self.inplanes != outputs:
            downsample = nn.Sequential(conv(self.inplanes, outputs, 1, stride), nn.BatchNorm2d(outputs))
        blocks = [block(self.inplanes, channels, stride, downsample)]
        blocks += [block(outputs, channels) for _ in range(count - 1)]
        self.inplanes = outputs
        return nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))  # [N, 3, 224, 224] -> [N, 64, 112, 112]
        x = self.maxpool(x)  # -> [N, 64, 56, 56]
        x = self.layer1(x)  # -> [N, 64e, 56, 56], e = block.expansion
        x = self.layer2(x)  # -> [N, 128e, 28, 28]
        x = self.layer3(x)  # -> [N, 256e, 14, 14]
        x = self.layer4(x)  # -> [N, 512e, 7, 7]
        x = self.avgpool(x).flatten(1)  # -> [N, 512e]
        return self.fc(x)  # -> [N, num_classes]


class SmallResNet(nn.Module):
    """6n+2 layers for small images: three stages of n basic blocks.    [N, in_channels, 32, 32] -> [N, num_classes]"""

    def __init__(self, blocks: int = 3, num_classes: int = 10, in_channels: int = 3) -> None:
        super().__init__()
        self.conv1 = conv(in_channels, 16, 3)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = self._stage(16, 16, blocks, 1)
        self.layer2 = self._stage(16, 32, blocks, 2)
        self.layer3 = self._stage(32, 64, blocks, 2)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(64, num_classes)
        initialize(self)

    def _stage(self, inputs: int, channels: int, count: int, stride: int) -> nn.Sequential:
        first = BasicBlock(inputs, channels, stride, None if inputs == channels else Subsample())
        return nn.Sequential(first, *(BasicBlock(channels, channels) for _ in range(count - 1)))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))  # [N, 3, 32, 32] -> [N, 16, 32, 32]
        x = self.layer1(x)  # -> [N, 16, 32, 32]
        x = self.layer2(x)  # -> [N, 32, 16, 16]
        x = self.layer3(x)  # -> [N, 64, 8, 8]
        x = self.avgpool(x).flatten(1)  # -> [N, 64]
        return self.fc(x)  # -> [N, num_classes]


def resnet18(num_classes: int = 1000, **options: Any) -> ResNet:
    """11,689,512 parameters."""
    return ResNet(BasicBlock, (2, 2, 2, 2), num_classes, **options)


def resnet34(num_classes: int = 1000, **options: Any) -> ResNet:
    """21,797,672 parameters."""
    return ResNet(BasicBlock, (3, 4, 6, 3), num_classes, **options)


def resnet50(num_classes: int = 1000, **options: Any) -> ResNet:
    """25,557,032 parameters; the network of The Little Book of Deep Learning, section 5.2."""
    return ResNet(Bottleneck, (3, 4, 6, 3), num_classes, **options)


def resnet20(num_classes: int = 10, **options: Any) -> SmallResNet:
    """269,722 parameters with 3 input channels and 10 classes."""
    return SmallResNet(3, num_classes, **options)

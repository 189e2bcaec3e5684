"""Networks that the benches host: true architectures with random weights, which cost what trained ones do."""

from __future__ import annotations

from tests.unit.services.runtime.torchvision_operators import define_missing_operators
from torch import nn

__all__ = ["DEEPEST", "nothing", "resnet18", "resnet152"]

DEEPEST = "resnet.encoder.stages.3"
"""The last layer of the two networks, which MAIA calls layer4."""


def resnet18() -> nn.Module:
    """Return ResNet-18 as transformers builds it."""
    return _resnet([2, 2, 2, 2], [64, 128, 256, 512], "basic")


def resnet152() -> nn.Module:
    """Return ResNet-152."""
    return _resnet([3, 8, 36, 3], [256, 512, 1024, 2048], "bottleneck")


def nothing() -> nn.Module:
    """Return a network that hardly does anything: all time is spent around it."""
    return nn.Sequential(nn.AvgPool2d(32))


def _resnet(depths: list[int], widths: list[int], block: str) -> nn.Module:
    define_missing_operators()  # transformers imports torchvision where it is installed
    from transformers import ResNetConfig, ResNetForImageClassification

    return ResNetForImageClassification(ResNetConfig(depths=depths, hidden_sizes=widths, layer_type=block))

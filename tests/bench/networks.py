"""Networks that the benches host: true architectures with random weights, which cost what trained ones do."""

from __future__ import annotations

import mmap
import os
import struct
import time
from pathlib import Path
from typing import Any

import torch
from tests.unit.services.runtime.torchvision_operators import define_missing_operators
from torch import Tensor, nn

from maia.services.subject.backends.networks.preprocessing import Preprocessing

__all__ = [
    "DEEPEST",
    "MAIA_LAYERS",
    "PASSES",
    "Passes",
    "counting",
    "nothing",
    "resnet18",
    "resnet50",
    "resnet152",
    "seeded18",
]

MAIA_LAYERS = {
    "conv1": "resnet.embedder.embedder.convolution",
    "layer1": "resnet.encoder.stages.0",
    "layer2": "resnet.encoder.stages.1",
    "layer3": "resnet.encoder.stages.2",
    "layer4": "resnet.encoder.stages.3",
}
"""What the layers that MAIA explains units of are called in `resnet18` and `resnet152`."""

DEEPEST = MAIA_LAYERS["layer4"]

PASSES = "MAIA_BENCH_PASSES"
"""Variable with the path of the file in which `counting` counts."""

_ALL = 2**62
_POLL_S = 0.001


def resnet18() -> nn.Module:
    """Return ResNet-18 as transformers builds it."""
    return _resnet([2, 2, 2, 2], [64, 128, 256, 512], "basic")


def seeded18() -> nn.Module:
    """Return ResNet-18 with the same weights in every process."""
    torch.manual_seed(1)
    return resnet18()


def resnet50() -> nn.Module:
    """Return ResNet-50."""
    return _resnet([3, 4, 6, 3], [256, 512, 1024, 2048], "bottleneck")


def resnet152() -> nn.Module:
    """Return ResNet-152."""
    return _resnet([3, 8, 36, 3], [256, 512, 1024, 2048], "bottleneck")


def nothing() -> tuple[nn.Module, Preprocessing]:
    """Return a network that does nothing but take every 32nd pixel, of pictures that fit it as they are.

    All time is spent around it.
    """
    return nn.Sequential(_Sparse()), Preprocessing(size=224, crop=224)


def counting() -> nn.Module:
    """Return a network whose unit of layer "0" says in which pass a picture was looked at."""
    return nn.Sequential(_Counter(Passes(Path(os.environ[PASSES]))))


class Passes:
    """How many passes have begun, and up to which they may end, in a file that a server and a bench share."""

    _FORM = "=qq"
    BYTES = struct.calcsize(_FORM)

    def __init__(self, path: Path) -> None:
        """Open the file, which must exist and have `BYTES`."""
        with path.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), self.BYTES)

    @property
    def begun(self) -> int:
        return int(struct.unpack(self._FORM, self._shared[:])[0])

    def hold(self) -> None:
        """Let no further pass end."""
        self._write(1, self.begun)

    def let_go(self) -> None:
        self._write(1, _ALL)

    def run(self) -> int:
        """Begin a pass and return its number when it may end."""
        number = self.begun + 1
        self._write(0, number)
        while struct.unpack(self._FORM, self._shared[:])[1] < number:
            time.sleep(_POLL_S)
        return number

    def _write(self, place: int, value: int) -> None:
        """Each place is written by one process alone."""
        self._shared[8 * place : 8 * place + 8] = struct.pack("=q", value)


class _Sparse(nn.Module):
    def forward(self, batch: Tensor) -> Tensor:
        return batch[:, :, ::32, ::32]


class _Counter(nn.Module):
    def __init__(self, passes: Passes) -> None:
        super().__init__()
        self._passes = passes

    def forward(self, batch: Tensor) -> Tensor:
        return torch.full((len(batch), 1, 2, 2), float(self._passes.run()))


def _resnet(depths: list[int], widths: list[int], block: str) -> nn.Module:
    define_missing_operators()  # transformers imports torchvision where it is installed
    from transformers import ResNetConfig, ResNetForImageClassification

    config: Any = ResNetConfig(depths=depths, hidden_sizes=widths, layer_type=block)
    config.num_labels = 1000  # of ImageNet
    return ResNetForImageClassification(config)

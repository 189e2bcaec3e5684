"""The network: five stages of convolutions, a spatial maximum, one linear layer.

    stage    side  stride  channels  made of
    conv1      56       2        16  5×5
    layer1     28       4        32  3×3, 3×3 (stride 2)
    layer2     28       4        48  3×3
    layer3     14       8        64  3×3 (stride 2), 3×3
    layer4     14       8       160  3×3, 3×3
    head                             spatial maximum of layer4 → one logit per concept

Each convolution is followed by batch normalisation and a ReLU, so every unit is 0 or positive. The head sees only
the spatial maximum of each layer4 channel, which is also what a measurement reports as the unit's activation: a unit
is useful to the network exactly as a detector of something somewhere in the picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

CHANNELS: Final[Mapping[str, int]] = {"conv1": 16, "layer1": 32, "layer2": 48, "layer3": 64, "layer4": 160}
"""Stages in the order of the forward pass, and how many units each has."""


class SceneNetwork(nn.Module):
    """Recognises concepts in pictures of scenes.

    Args:
        concepts: Number of concepts, one logit each.
        dropout: Share of layer4 channels hidden from the head in each training step.
    """

    layers: ClassVar[tuple[str, ...]] = tuple(CHANNELS)

    def __init__(self, concepts: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        width = CHANNELS
        self.conv1 = _convolution(3, width["conv1"], kernel=5, stride=2)
        self.layer1 = nn.Sequential(_convolution(width["conv1"], 24), _convolution(24, width["layer1"], stride=2))
        self.layer2 = _convolution(width["layer1"], width["layer2"])
        self.layer3 = nn.Sequential(
            _convolution(width["layer2"], width["layer3"], stride=2), _convolution(width["layer3"], width["layer3"])
        )
        self.layer4 = nn.Sequential(_convolution(width["layer3"], 96), _convolution(96, width["layer4"]))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width["layer4"], concepts)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the logits, float32, (pictures, concepts), of `pixels` as `normalise` returns them."""
        return self.classify(self.stages(pixels, tuple(CHANNELS))["layer4"])

    def stages(self, pixels: Tensor, wanted: Sequence[str]) -> dict[str, Tensor]:
        """Run the network as far as the deepest stage wanted, and no further.

        Args:
            pixels: As `normalise` returns them.
            wanted: Names of stages; each must be a key of `CHANNELS`.

        Returns:
            The outputs of the wanted stages, float32, (pictures, channels, height, width), by name.
        """
        missing = set(wanted)
        outputs: dict[str, Tensor] = {}
        values = pixels
        for name in CHANNELS:
            if not missing:
                break
            values = getattr(self, name)(values)
            if name in missing:
                missing.remove(name)
                outputs[name] = values
        return outputs

    def look(self, pixels: npt.NDArray[np.uint8], wanted: Sequence[str]) -> dict[str, npt.NDArray[np.float32]]:
        """Do what `stages` does, from pictures to arrays, remembering nothing for a gradient.

        Args:
            pixels: uint8 RGB, (pictures, side, side, 3).
            wanted: As for `stages`.

        Returns:
            float32, (pictures, channels, height, width), by name.
        """
        with torch.inference_mode():
            outputs = self.stages(normalise(torch.from_numpy(pixels)), wanted)
        return {name: values.numpy() for name, values in outputs.items()}

    def classify(self, layer4: Tensor) -> Tensor:
        """Return the logits, (pictures, concepts), of layer4's output, (pictures, channels, height, width)."""
        logits: Tensor = self.head(self.dropout(layer4.amax(dim=(2, 3))))
        return logits


def normalise(pixels: Tensor) -> Tensor:
    """Turn uint8 RGB, (pictures, side, side, 3), into the input: float32, (pictures, 3, side, side), -1 to 1."""
    return pixels.permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)


def _convolution(inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )

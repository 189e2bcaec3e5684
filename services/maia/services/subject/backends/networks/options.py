"""What may be chosen when a network is loaded, whichever library it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self


class Precision(StrEnum):
    """Numbers that the weights and the forward pass are in."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


@dataclass(frozen=True, slots=True)
class DirectionsFile:
    """Directions to measure beside the channels of a layer; `directions` says what the file holds.

    Attributes:
        path: A safetensors file.
        layer: Whose channels they are directions in; None for what the file's metadata say under "layer".
        name: Of the layer `<layer>@<name>`; None for what the metadata say under "name", or else the file's own name.
    """

    path: Path
    layer: str | None = None
    name: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `FILE` or `LAYER=FILE`."""
        layer, separator, path = text.partition("=")
        return cls(Path(path), layer) if separator else cls(Path(text))


@dataclass(frozen=True, slots=True)
class NetworkOptions:
    """How to load a network.

    Attributes:
        device: As PyTorch names it ("cuda:1"), or "auto": CUDA, else Apple's MPS, else the CPU, whichever is there.
        precision: The weights are cast to it, and pictures after they were normalised in float32.
        model_dir: Where weights are looked for first and kept when downloaded; None for each library's own cache.
        offline: Download nothing.
        weights: A state dict (.pt, .pth, .bin or .safetensors) to load instead of the published weights.
        directions: To measure as layers of their own.
    """

    device: str = "auto"
    precision: Precision = Precision.FLOAT32
    model_dir: Path | None = None
    offline: bool = False
    weights: Path | None = None
    directions: tuple[DirectionsFile, ...] = ()

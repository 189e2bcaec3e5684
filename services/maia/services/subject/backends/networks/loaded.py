"""What a loader returns."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from maia.services.subject.backends.networks.preprocessing import Preparation


@dataclass(frozen=True, slots=True)
class Network:
    """A network as its library brings it.

    Attributes:
        module: With its weights, on the CPU; its first argument is a batch, float32, (pictures, 3, side, side).
        preparation: Makes such batches.
        title: One sentence for people.
        origin: Library and version: whose code the forward pass is.
        classes: What its output tells apart: None if its output is no classes, empty if nobody knows their names.
    """

    module: nn.Module
    preparation: Preparation
    title: str
    origin: str
    classes: tuple[str, ...] | None = None

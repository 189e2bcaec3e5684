"""Torchvision beside a torch without CUDA: its compiled part does not load, and its import fails for want of names.

With the names declared it imports, and everything of it works that needs no compiled operator; nothing here does.
"""

from __future__ import annotations

from typing import Any

import torch

_Library: Any = torch.library.Library
_DECLARED: list[Any] = []  # an operator lives as long as the library that declares it

_SCHEMAS = {
    "nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


def define_missing_operators() -> None:
    """Declare what the import of torchvision asks for, unless it is there."""
    for name, schema in _SCHEMAS.items():
        if not hasattr(torch.ops.torchvision, name):
            library: Any = _Library("torchvision", "FRAGMENT")
            library.define(f"{name}{schema}")
            _DECLARED.append(library)

"""Where a model runs."""

from __future__ import annotations

from maia.wire.errors import PreconditionError

__all__ = ["chosen_device"]


def chosen_device(device: str) -> str:
    """Return the device that PyTorch shall use.

    Args:
        device: "auto", "cpu", "cuda", "cuda:1", "mps".

    Raises:
        PreconditionError: DEVICE_MISSING.
    """
    import torch

    accelerators = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        return next((name for name, there in accelerators.items() if there), "cpu")
    kind, _, number = device.partition(":")
    there = kind == "cpu" or accelerators.get(kind, False)
    if not there or (number and not (kind == "cuda" and number.isdigit() and int(number) < torch.cuda.device_count())):
        raise PreconditionError(f"there is no device {device:.40} here; try --device auto", reason="DEVICE_MISSING")
    return device

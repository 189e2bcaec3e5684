"""Float32 that is calculated in float32."""

from __future__ import annotations

from typing import Any

__all__ = ["calculate_float32_fully"]


def calculate_float32_fully() -> None:
    """Have PyTorch calculate float32 with all its bits from now on, in the whole process.

    By default convolutions on CUDA round what they multiply to TensorFloat-32, three decimal digits, without a word;
    and a library may have allowed that, or bfloat16, for products of matrices too.
    """
    import torch

    backends: Any = torch.backends  # whose types know half of this
    # The older switches as well: libraries read them, and reading raises where they contradict the newer ones.
    torch.set_float32_matmul_precision("highest")
    backends.cudnn.allow_tf32 = False
    # Each alone: what is set for one of them outlives what is set for all.
    for part in (
        backends,
        backends.cudnn,
        backends.mkldnn,
        backends.cuda.matmul,
        backends.cudnn.conv,
        backends.cudnn.rnn,
        backends.mkldnn.matmul,
        backends.mkldnn.conv,
        backends.mkldnn.rnn,
    ):
        part.fp32_precision = "ieee"

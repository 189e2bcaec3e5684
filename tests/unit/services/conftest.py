"""What tests of services share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture
def rounding_allowed() -> Iterator[None]:
    """PyTorch may calculate float32 in fewer bits, as a library may have left it; afterwards as PyTorch starts."""
    import torch

    backends: Any = torch.backends  # whose types know half of this
    of_all = (backends, backends.cudnn, backends.mkldnn)
    on_cuda = (backends.cudnn.conv, backends.cudnn.rnn)
    on_cpu = (backends.mkldnn.matmul, backends.mkldnn.conv, backends.mkldnn.rnn)
    torch.set_float32_matmul_precision("medium")
    backends.cudnn.allow_tf32 = True
    for part in (*of_all, *on_cuda):
        part.fp32_precision = "tf32"
    for part in on_cpu:
        part.fp32_precision = "bf16"
    yield
    torch.set_float32_matmul_precision("highest")
    backends.cudnn.allow_tf32 = True
    for part in (*of_all, *on_cpu, backends.cuda.matmul):
        part.fp32_precision = "none"
    for part in on_cuda:
        part.fp32_precision = "tf32"

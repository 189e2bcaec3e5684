"""Float32 has all its bits, whatever was allowed before."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from maia.services._runtime.float32 import calculate_float32_fully

pytestmark = pytest.mark.usefixtures("rounding_allowed")


def precisions() -> set[str]:
    backends: Any = torch.backends  # whose types know half of this
    cuda, cudnn, cpu = backends.cuda, backends.cudnn, backends.mkldnn
    operations = (cuda.matmul, cudnn.conv, cudnn.rnn, cpu.matmul, cpu.conv, cpu.rnn)
    return {operation.fp32_precision for operation in operations}


def test_no_operation_may_round_float32() -> None:
    assert precisions() == {"tf32", "bf16"}
    calculate_float32_fully()
    assert precisions() == {"ieee"}


def test_the_older_switches_say_the_same_and_can_be_read() -> None:
    calculate_float32_fully()
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32
    assert torch.get_float32_matmul_precision() == "highest"
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):  # reads all of them, and puts them back
        pass
    assert precisions() == {"ieee"}


def test_results_are_those_of_float32() -> None:
    torch.manual_seed(0)
    convolution, linear = nn.Conv2d(16, 32, 3), nn.Linear(256, 256)
    maps, vectors = torch.randn(2, 16, 20, 20), torch.randn(64, 256)
    calculate_float32_fully()
    with torch.inference_mode():
        # Many times nearer than bfloat16 gets, on processors that have it.
        for layer, given in ((convolution, maps), (linear, vectors)):
            found = layer.float()(given).double()
            assert (found - layer.double()(given.double())).abs().max() < 1e-5

"""A pipeline in float32 calculates in float32, on every device."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
import torch
from tests.unit.services.runtime.tiny_pipelines import saved, sd

from maia.services._runtime.diffusion.loading import load
from maia.services._runtime.diffusion.options import DiffusionOptions

# The libraries' own deprecation warnings, at imports and in schedulers.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.mark.usefixtures("rounding_allowed")
def test_float32_is_not_rounded_to_fewer_bits(tmp_path: Path) -> None:
    folder = saved(sd, tmp_path / "model")
    cases: tuple[tuple[Literal["bfloat16", "float32"], bool], ...] = (("bfloat16", True), ("float32", False))
    for dtype, allowed in cases:
        assert load(DiffusionOptions(str(folder), device="cpu", dtype=dtype), "generation").dtype == dtype
        assert torch.backends.cudnn.allow_tf32 is allowed
        assert torch.backends.cuda.matmul.allow_tf32 is allowed

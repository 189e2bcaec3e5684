"""What tests of networks share."""

from __future__ import annotations

import numpy as np
import pytest
from tests.unit.services.runtime.torchvision_operators import define_missing_operators

from maia.wire.pictures import Rgb


@pytest.fixture(scope="session")
def torchvision_runs() -> None:
    """Let torchvision be imported beside a torch without CUDA."""
    define_missing_operators()


SIZES = ((64, 64), (1, 1), (3, 500), (900, 40), (113, 111), (300, 451), (224, 224), (256, 257))
"""Heights and widths, among them those that crops and rounding could get wrong."""


@pytest.fixture(scope="session")
def pictures() -> list[Rgb]:
    """Noise, of odd sizes."""
    random = np.random.default_rng(5)
    return [random.integers(0, 256, (*size, 3), np.uint8) for size in SIZES]

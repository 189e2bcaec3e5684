"""What tests of synthetic neurons on photographs share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from maia.services.subject.backends.networks.options import NetworkOptions
from maia.services.subject.backends.photograph_neurons.options import PhotographOptions
from maia.wire.pictures import Rgb

if TYPE_CHECKING:
    from maia.services.subject.backends.photograph_neurons.grounded_sam import GroundedSam

ON_CPU = NetworkOptions(device="cpu", offline=True)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> PhotographOptions:
    """A detector and a segmenter on disk; both are read only."""
    from tests.unit.services.subject.photograph_neurons.tiny_models import save_detector, save_segmenter

    folder = tmp_path_factory.mktemp("models")
    return PhotographOptions(
        detector=str(save_detector(folder / "detector")), segmenter=str(save_segmenter(folder / "segmenter"))
    )


@pytest.fixture(scope="session")
def loaded(tiny: PhotographOptions) -> GroundedSam:
    from maia.services.subject.backends.photograph_neurons.loading import load

    return load(tiny, ON_CPU)


@pytest.fixture(scope="session")
def photograph() -> Rgb:
    """Noise of low frequency, 60 × 80."""
    blocks = np.random.default_rng(3).integers(0, 256, (6, 8, 3), np.uint8)
    return blocks.repeat(10, 0).repeat(10, 1)

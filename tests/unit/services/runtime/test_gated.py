"""Which models need a token."""

from __future__ import annotations

import pytest

from maia.services._runtime.gated import is_gated


@pytest.mark.parametrize(
    ("model", "gated"),
    [
        ("black-forest-labs/FLUX.1-Kontext-dev", True),
        ("Black-Forest-Labs/flux.1-dev", True),
        ("stabilityai/stable-diffusion-3.5-medium", True),
        ("facebook/dinov3-vits16-pretrain-lvd1689m", True),
        ("facebook/dinov2-small", False),
        ("stabilityai/sdxl-turbo", False),
        ("/models/black-forest-labs/FLUX.1-dev", False),
        ("", False),
    ],
)
def test_gated_families_are_known_by_name(model: str, gated: bool) -> None:
    assert is_gated(model) is gated

"""A text-to-image pipeline of a real class with random weights, larger than those of the tests: a call takes long."""

from __future__ import annotations

from typing import Any

from tests.unit.services.runtime.tiny_pipelines import diffusers, flux_parts

__all__ = ["GUIDANCE", "SIDE", "STEPS", "flux"]

SIDE, STEPS, GUIDANCE = 64, 4, 3.5
"""Of its pictures in pixels; and how they are made, by the server and by the bare call."""


def flux() -> Any:
    """Return Flux with a transformer of 4 million weights."""
    transformer = diffusers.FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=2,
        num_single_layers=4,
        attention_head_dim=32,
        num_attention_heads=4,
        joint_attention_dim=32,
        pooled_projection_dim=32,
        axes_dims_rope=(8, 12, 12),
        guidance_embeds=True,
    ).eval()
    return diffusers.FluxPipeline(**{**flux_parts(), "transformer": transformer})

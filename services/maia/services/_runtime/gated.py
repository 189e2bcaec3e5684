"""Models whose files the Hugging Face hub gives only to an account that has accepted their licence."""

from __future__ import annotations

from typing import Final

__all__ = ["GATED", "is_gated"]

GATED: Final = (
    "black-forest-labs/FLUX.1-",
    "stabilityai/stable-diffusion-3",
    "facebook/dinov3-",
    "facebook/sam3",
    "google/gemma-3",
    "google/paligemma",
    "meta-llama/Llama-",
)
"""Beginnings of their names: the families among what the servers can run. The hub has others too."""


def is_gated(model: str) -> bool:
    """Return whether a name on the hub is of one of these families; the hub does not mind the case of letters."""
    return model.lower().startswith(tuple(name.lower() for name in GATED))

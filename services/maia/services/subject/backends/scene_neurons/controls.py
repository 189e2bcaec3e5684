"""Units that have no concept, so that an agent can be asked about one and must say so."""

from __future__ import annotations

import hashlib
from typing import Final

import numpy as np
from PIL import Image

from maia.services.subject.backends.scene_neurons.seeing import MAP_SIDE, MAX_ACTIVATION, Map
from maia.services.subject.backends.scene_neurons.table import Control
from maia.wire.pictures import Rgb

_BLOTCHES: Final = 7  # across and down; a map of independent places would have its maximum near the bound always


def digest_of(rgb: Rgb) -> bytes:
    """Return what noise is drawn from: the pixels, whatever file they came in."""
    return hashlib.sha256(repr(rgb.shape).encode() + np.ascontiguousarray(rgb).tobytes()).digest()


def respond_without_concept(control: Control, digest: bytes) -> Map:
    """Return the map of a control.

    Noise is a pattern of soft blotches; its maximum lies anywhere between 0 and MAX_ACTIVATION, each value as likely as
    any other.

    Args:
        control: Of which kind.
        digest: Of the picture, from `digest_of`.
    """
    if control.kind != "noise":
        return np.full((MAP_SIDE, MAP_SIDE), control.parameter, np.float32)
    seed = hashlib.sha256(digest + repr(control.parameter).encode()).digest()
    rng = np.random.Generator(np.random.PCG64(int.from_bytes(seed, "big")))
    blotches = Image.fromarray(rng.random((_BLOTCHES, _BLOTCHES), np.float32))
    values: Map = np.asarray(blotches.resize((MAP_SIDE, MAP_SIDE), Image.Resampling.BILINEAR))
    scaled: Map = values * np.float32(rng.uniform(0, MAX_ACTIVATION) / values.max())
    return scaled

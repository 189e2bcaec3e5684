"""Examples in random order, varied at random: what one training step sees."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from maia.services.subject.backends.scenes_cnn.examples import Examples
from maia.services.subject.backends.scenes_cnn.network import normalise

_REACH: Final = 6  # the furthest shift, in pixels of the input
_LIGHT: Final = 0.06  # standard deviation of the factor on all pixels
_NOISE: Final = 0.06  # the strongest noise, on pixels from -1 to 1


@dataclass(frozen=True, slots=True)
class Batch:
    """Pictures as the network takes them, and what they show.

    Attributes:
        pixels: float32, (pictures, 3, side, side), as `normalise` returns them.
        present: float32, (pictures, concepts), 0 or 1.
        centres: float32, (pictures, things, 2), where the things are, as in `Examples`.
        kinds: int64, (pictures, things, 3), as in `Examples`.
    """

    pixels: Tensor
    present: Tensor
    centres: Tensor
    kinds: Tensor


def plain(examples: Examples) -> Batch:
    """Return all examples as one batch, as they are."""
    return Batch(
        normalise(torch.from_numpy(examples.pixels)),
        torch.from_numpy(examples.present).float(),
        torch.from_numpy(examples.centres),
        torch.from_numpy(examples.kinds),
    )


def shuffled(examples: Examples, size: int, generator: torch.Generator) -> Iterator[Batch]:
    """Yield every example once, in batches of `size`, in random order and varied at random."""
    order = torch.randperm(len(examples.pixels), generator=generator).numpy()
    for start in range(0, len(order), size):
        chosen = order[start : start + size]
        batch = Examples(
            examples.pixels[chosen], examples.present[chosen], examples.centres[chosen], examples.kinds[chosen]
        )
        yield vary(plain(batch), generator)


def vary(batch: Batch, generator: torch.Generator) -> Batch:
    """Mirror, shift, lighten and add noise: what changes the pixels and leaves everything shown what it is."""
    pixels, centres = batch.pixels, batch.centres.clone()
    for axis, coordinate in ((3, 0), (2, 1)):
        if torch.rand((), generator=generator) < 0.5:
            pixels = pixels.flip(axis)
            centres[..., coordinate] = 1.0 - centres[..., coordinate]
    side = pixels.shape[-1]
    padded = nn.functional.pad(pixels, (_REACH,) * 4, mode="replicate")
    left, top = torch.randint(0, 2 * _REACH + 1, (2,), generator=generator).tolist()
    pixels = padded[:, :, top : top + side, left : left + side]
    centres += torch.tensor([_REACH - left, _REACH - top]) / side
    each = (len(pixels), 1, 1, 1)
    light = 1.0 + _LIGHT * torch.randn(each, generator=generator)
    noise = _NOISE * torch.rand(each, generator=generator) * torch.randn(pixels.shape, generator=generator)
    # This layout is the faster one for convolutions on a CPU.
    pixels = (pixels * light + noise).contiguous(memory_format=torch.channels_last)
    return Batch(pixels, batch.present, centres, batch.kinds)

"""At which size a picture is edited."""

from __future__ import annotations

import math
from typing import Final

from maia.services._runtime.diffusion.recipes import Recipe

_LONGEST: Final = 3.0
"""Models have seen no longer pictures than about 3 : 1; a longer one is squeezed."""
_SQUEEZED: Final = 0.1
"""Change of shape that is said."""

Size = tuple[int, int]
"""Width and height in pixels."""


def editing_size(picture: Size, recipe: Recipe, area: int) -> Size:
    """Return the size at which a picture goes in and comes out: its shape, the area of the recipe or the settings.

    FLUX.1 Kontext was trained on a list of sizes, so that at its own area the nearest of them is taken, as
    `FluxKontextPipeline` does with a picture alone.
    """
    shape = picture[0] / picture[1]
    if recipe.pipeline == "FluxKontextPipeline" and area == 1024 * 1024:
        return _kontext_size(shape)
    shape = min(max(shape, 1 / _LONGEST), _LONGEST)
    width = math.sqrt(area * shape)
    return _rounded(width, recipe.multiple), _rounded(width / shape, recipe.multiple)


def squeezed(picture: Size, size: Size) -> tuple[str, ...]:
    """Return a warning if the picture's shape is not kept."""
    if abs(math.log(picture[0] / picture[1] * size[1] / size[0])) <= _SQUEEZED:
        return ()
    return (f"the picture of {picture[0]} × {picture[1]} pixels was edited in the shape {size[0]} × {size[1]}",)


def _kontext_size(shape: float) -> Size:
    from diffusers.pipelines.flux.pipeline_flux_kontext import PREFERRED_KONTEXT_RESOLUTIONS

    _, width, height = min(
        (abs(shape - width / height), width, height) for width, height in PREFERRED_KONTEXT_RESOLUTIONS
    )
    return width, height


def _rounded(side: float, multiple: int) -> int:
    return max(multiple, round(side / multiple) * multiple)

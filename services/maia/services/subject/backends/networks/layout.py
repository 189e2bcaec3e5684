"""Where the units and the places of a module's output are.

MAP            (pictures, units, h, w)          convolutions
MAP_LAST       (pictures, h, w, units)          Swin and ConvNeXt blocks of timm
TOKENS         (pictures, tokens, units)        transformers; tokens before the picture's are left out
TOKENS_FIRST   (tokens, pictures, units)        the same with the batch second, as in CLIP's first blocks
VECTOR         (pictures, units)                pooled features and classes, a map of one place
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from torch import Tensor, nn

from maia.wire.limits import MAX_MAP_SIDE

MAX_PREFIX: Final = 16
"""Tokens before those of the picture, at most: classes, distillation, registers."""

_CHANNELS_FIRST: Final = (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d, nn.GroupNorm, nn.MaxPool2d, nn.AvgPool2d)
_PASSING: Final = (nn.Dropout, nn.Identity, nn.Softmax)  # what attention weights go through


class Form(StrEnum):
    """The order of a tensor's axes."""

    MAP = "map"
    MAP_LAST = "map, channels last"
    TOKENS = "tokens"
    TOKENS_FIRST = "tokens, batch second"
    VECTOR = "vector"


@dataclass(frozen=True, slots=True)
class Layout:
    """How to read activation maps from a tensor.

    Attributes:
        form: The order of its axes.
        units: How many.
        height: Of the maps.
        width: Of the maps.
        prefix: Tokens that are no place of the picture and come first.
    """

    form: Form
    units: int
    height: int = 1
    width: int = 1
    prefix: int = 0

    def maps(self, output: Tensor, row: int, units: Sequence[int] | None = None) -> Tensor:
        """Return the maps of one picture.

        Args:
            output: Of the module.
            row: The picture's place in the batch.
            units: Which; all if None.

        Returns:
            (units, height, width); a copy if units are named.
        """
        chosen = slice(None) if units is None else list(units)
        match self.form:
            case Form.MAP:
                return output[row][chosen]
            case Form.MAP_LAST:
                return output[row][..., chosen].permute(2, 0, 1)
            case Form.VECTOR:
                return output[row][chosen].reshape(-1, 1, 1)
            case Form.TOKENS:
                tokens = output[row, self.prefix :]
            case Form.TOKENS_FIRST:
                tokens = output[self.prefix :, row]
        return tokens[:, chosen].T.reshape(-1, self.height, self.width)

    def values(self, output: Tensor) -> Tensor:
        """Return the maps of all units and pictures of a batch, as a view if that can be: (pictures, places, units)."""
        match self.form:
            case Form.MAP:
                return output.permute(0, 2, 3, 1).flatten(1, 2)
            case Form.MAP_LAST:
                return output.flatten(1, 2)
            case Form.TOKENS:
                return output[:, self.prefix :]
            case Form.TOKENS_FIRST:
                return output[self.prefix :].transpose(0, 1)
            case Form.VECTOR:
                return output.unsqueeze(1)

    def hold(self, output: Tensor, unit: int, value: float) -> None:
        """Set a unit to a value in every picture, at every place of its map, in place."""
        match self.form:
            case Form.MAP | Form.VECTOR:
                output[:, unit] = value
            case Form.MAP_LAST:
                output[..., unit] = value
            case Form.TOKENS:
                output[:, self.prefix :, unit] = value
            case Form.TOKENS_FIRST:
                output[self.prefix :, :, unit] = value


def find_layout(output: Tensor, module: nn.Module, batch: int, grid: tuple[int, int] | None) -> Layout | None:
    """Return how to read a module's output, or None if it is no maps.

    Args:
        output: For a square picture.
        module: Whose.
        batch: Pictures in it, at least 2, so that a tensor into which pictures are folded is not mistaken.
        grid: Height and width of the last convolution's maps before it; the tokens of a picture are laid out so.
    """
    shape = tuple(output.shape)
    if not output.is_floating_point() or 0 in shape:
        return None
    found = None
    if len(shape) == 2 and shape[0] == batch:
        found = Layout(Form.VECTOR, shape[1])
    elif len(shape) == 3 and batch in shape[:2]:
        form, count = (Form.TOKENS, shape[1]) if shape[0] == batch else (Form.TOKENS_FIRST, shape[0])
        places = _places(count, grid)
        found = None if places is None else Layout(form, shape[2], *places)
    elif len(shape) == 4 and shape[0] == batch:
        found = _map(shape, module, grid)
    return found if found is not None and max(found.height, found.width) <= MAX_MAP_SIDE else None


def _map(shape: tuple[int, ...], module: nn.Module, grid: tuple[int, int] | None) -> Layout | None:
    """A layout of four axes. Pictures are square, so the two axes that are equal are those of the maps."""
    _, first, second, third = shape
    if isinstance(module, _CHANNELS_FIRST):
        return Layout(Form.MAP, first, second, third)
    if second == third and not (first == second and type(module) in {nn.Linear, nn.LayerNorm}):
        tokens = 0 if grid is None else grid[0] * grid[1]
        if isinstance(module, _PASSING) and 1 < tokens <= second <= tokens + MAX_PREFIX:
            return None  # the weights of an attention: heads, tokens, tokens
        return Layout(Form.MAP, first, second, third)
    return Layout(Form.MAP_LAST, third, first, second) if first == second else None


def _places(tokens: int, grid: tuple[int, int] | None) -> tuple[int, int, int] | None:
    """Height, width and prefix of a sequence of tokens, or None if they cannot be laid out."""
    if grid is not None:
        prefix = tokens - grid[0] * grid[1]
        if 0 <= prefix <= MAX_PREFIX:
            return (*grid, prefix)
    for prefix in (0, 1):
        side = math.isqrt(tokens - prefix)
        if side > 0 and side * side == tokens - prefix:
            return side, side, prefix
    return None

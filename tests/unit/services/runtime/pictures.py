"""Pictures to make and to compare."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from maia.services._runtime.results import MadePicture
from maia.wire.errors import MaiaError
from maia.wire.pictures import Rgb, decode

ROUNDING = 2
"""Steps of 255 by which a picture may differ between a run alone and one among neighbours."""


def pixels(made: MadePicture | MaiaError) -> Rgb:
    assert isinstance(made, MadePicture), made
    return decode(made.png)


def distance(one: MadePicture | MaiaError, other: MadePicture | MaiaError) -> int:
    """Largest difference of any pixel's colour."""
    return int(np.abs(pixels(one).astype(int) - pixels(other).astype(int)).max())


def noise(seed: int, width: int, height: int) -> Rgb:
    """A picture in large random squares."""
    cells = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    rows, columns = np.arange(height) * 4 // height, np.arange(width) * 4 // width
    return cells[rows][:, columns]


def never() -> bool:
    """Somebody waits."""
    return False


def after(asks: int) -> Callable[[], bool]:
    """Nobody waits any more after so many askings."""
    left = iter([False] * asks)
    return lambda: next(left, True)


def record(patch: pytest.MonkeyPatch, owner: Any, name: str, calls: list[tuple[str, Any]]) -> None:
    """Note every call of a method, with its first argument."""
    method = getattr(owner, name)

    def noted(*args: Any, **kwargs: Any) -> Any:
        calls.append((name, args[0]))
        return method(*args, **kwargs)

    patch.setattr(owner, name, noted)

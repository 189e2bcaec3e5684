"""What a describer is, whatever looks: no gRPC here, and no vision-language model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from maia.wire.pictures import Rgb


@dataclass(frozen=True, slots=True)
class DescriberInfo:
    """What callers may know of a describer.

    Attributes:
        name: For example "scenes".
        revision: Changes whenever the same picture may be described in other words.
    """

    name: str
    revision: str


@dataclass(frozen=True, slots=True)
class View:
    """What to look at.

    Attributes:
        rgb: The original picture, uint8, shape (height, width, 3).
        mask: The region to describe, bool, shape (height, width); None for the whole picture.
    """

    rgb: Rgb
    mask: NDArray[np.bool_] | None


class Describer(Protocol):
    """Puts pictures into words. Only the model thread calls `describe` and `summarize`."""

    @property
    def info(self) -> DescriberInfo:
        """Its description; never changes."""
        ...

    def describe(self, views: Sequence[View]) -> list[str]:
        """Describe each view of one batch on its own, in one line."""
        ...

    def summarize(self, views: Sequence[View]) -> str:
        """Say what all the views have in common."""
        ...

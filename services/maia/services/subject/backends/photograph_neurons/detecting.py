"""What looks for concepts on pictures, whatever it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from maia.wire.pictures import Rgb

MAP_SIDE: Final = 56

Map: TypeAlias = NDArray[np.float32]
"""float32, (MAP_SIDE, MAP_SIDE), laid over the whole picture whatever its shape."""


@dataclass(frozen=True, slots=True)
class Detection:
    """Something on a picture that is what was looked for.

    Attributes:
        score: How sure the detector is, above 0 to 1.
        outline: Where it is, 0 to 1, soft at its edge; 1 somewhere.
    """

    score: float
    outline: Map


class Sight(Protocol):
    """A picture made ready for one detector."""


class Detector(Protocol):
    """Finds what words name."""

    @property
    def revision(self) -> str:
        """Changes whenever a detection may."""
        ...

    @property
    def nbytes(self) -> int:
        """The memory that its weights take."""
        ...

    def check(self, concepts: Sequence[str]) -> None:
        """Refuse what cannot be looked for.

        Raises:
            ValueError: The message does not quote it.
        """
        ...

    def prepare(self, rgb: Rgb) -> Sight:
        """Do what can be done for a picture alone. Called by any thread, many at once."""
        ...

    def detect(self, sight: Sight, concepts: Sequence[str]) -> Mapping[str, Sequence[Detection]]:
        """Look for concepts on one picture. Called by the model's thread alone.

        Args:
            sight: From `prepare`.
            concepts: None twice; what is found of one does not depend on the others, but for rounding.

        Returns:
            What was found of each.
        """
        ...

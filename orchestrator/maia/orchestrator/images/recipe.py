"""How to make a masked view of a picture."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Self

import numpy as np
from numpy.typing import NDArray

from maia.orchestrator.events import UnitName
from maia.wire.maps import Frame, masked_pixels

MAP_QUANTILE: Final = 0.95
"""Of a map's own values: the threshold where the dataset's is not known."""

Origin = Literal["exemplars", "map"]


@dataclass(frozen=True, slots=True)
class MaskRecipe:
    """A unit's response to a picture, and from which level on it counts.

    Attributes:
        unit: Whose response.
        activation: Its maximum.
        map: float16, shape (h, w).
        frame: What of the picture the map covers.
        threshold: Pixels above it stay bright.
        origin: Where the threshold came from: the exemplar store, or the map's own values.
    """

    unit: UnitName
    activation: float
    map: NDArray[np.float16] = field(repr=False)
    frame: Frame
    threshold: float
    origin: Origin

    @classmethod
    def of(
        cls, unit: UnitName, activation: float, values: NDArray[np.float16], frame: Frame, threshold: float | None
    ) -> Self:
        """Return a recipe; without a threshold, the 0.95 quantile of the map's own values is taken.

        Where that is the maximum itself, since a twentieth of the map or more is as high, the level below it is taken:
        nothing is above the maximum, and a picture that drives a unit much would be all dark.
        """
        if threshold is not None:
            return cls(unit, activation, values, frame, threshold, "exemplars")
        own = float(np.quantile(values.astype(np.float32), MAP_QUANTILE))
        below = values[values < own]
        if own >= values.max() and below.size:
            own = float(below.max())
        return cls(unit, activation, values, frame, own, "map")

    def mask(self, width: int, height: int) -> NDArray[np.bool_]:
        """Return which pixels of a picture of that size stay bright; bool, shape (height, width)."""
        return masked_pixels((height, width), self.map, self.frame, self.threshold)

    def to_json(self) -> dict[str, object]:
        """Return it as `events.ImageAdded.view`."""
        height, width = self.map.shape
        return {
            "unit": str(self.unit),
            "activation": self.activation,
            "threshold": self.threshold,
            "threshold_from": self.origin,
            "frame": self._sides(),
            "map": {"height": height, "width": width, "values": base64.b64encode(self._bytes()).decode("ascii")},
        }

    @classmethod
    def from_json(cls, view: Mapping[str, Any]) -> Self:
        """Return what `to_json` has told.

        Raises:
            KeyError, ValueError, TypeError: It is not that.
        """
        values = base64.b64decode(view["map"]["values"], validate=True)
        shape = (view["map"]["height"], view["map"]["width"])
        map_ = np.frombuffer(values, "<f2").astype(np.float16).reshape(shape)
        frame = Frame(*(float(side) for side in view["frame"]))
        return cls(
            _unit(view["unit"]),
            float(view["activation"]),
            map_,
            frame,
            float(view["threshold"]),
            view["threshold_from"],
        )

    def identity(self) -> list[object]:
        """Return what two recipes share exactly when they mask alike, as JSON."""
        return [list(self.map.shape), hashlib.sha256(self._bytes()).hexdigest(), self._sides(), self.threshold]

    def _sides(self) -> list[float]:
        return [self.frame.left, self.frame.top, self.frame.right, self.frame.bottom]

    def _bytes(self) -> bytes:
        return self.map.astype("<f2").tobytes()


def _unit(text: str) -> UnitName:
    """Read what `str` makes of a unit; a layer's name may hold anything but a space."""
    model, _, unit = text.rpartition(" ")
    layer, _, index = unit.rpartition(":")
    return UnitName(model, layer, int(index))

"""The subject `scenes-cnn` as the server sees it: pictures and units in, measurements out.

A picture of any size is cropped to its largest centred square, which is resized (bilinear, antialiased) to 112 × 112.
So a map covers that square, and what lies beside it in a long picture is not seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from maia.services.subject.backends.scenes_cnn.preprocess import INPUT_SIZE, to_input
from maia.services.subject.model import Layer, Measurements, SubjectInfo, Unit
from maia.wire.errors import PreconditionError
from maia.wire.maps import Frame
from maia.wire.pictures import Rgb

if TYPE_CHECKING:
    from maia.services.subject.backends.scenes_cnn.weights import Weights

NAME: Final = "scenes-cnn"


class ScenesCnn:
    """The subject `scenes-cnn`; a `maia.services.subject.model.Subject`. `load` makes one.

    Args:
        weights: The trained network.
    """

    def __init__(self, weights: Weights) -> None:
        self._network = weights.network
        blank = np.zeros((1, INPUT_SIZE, INPUT_SIZE, 3), dtype=np.uint8)
        shapes = {name: values.shape for name, values in self._network.look(blank, self._network.layers).items()}
        self._info = SubjectInfo(
            name=NAME,
            title="A small convolutional network, trained to recognise what is on drawings of scenes.",
            layers=tuple(Layer(name, *shape[1:]) for name, shape in shapes.items()),
            input_size=INPUT_SIZE,
            revision=weights.revision,
        )

    @classmethod
    def load(cls, path: Path | None = None) -> Self:
        """Read a trained network.

        Args:
            path: Of its weights; the shipped ones if None.

        Raises:
            PreconditionError: EXTRA_MISSING: torch or safetensors is not installed. WEIGHTS_UNUSABLE: see
                `weights.load`.
        """
        try:
            from maia.services.subject.backends.scenes_cnn import weights
        except ModuleNotFoundError as error:
            if error.name not in {"torch", "safetensors"}:
                raise
            raise PreconditionError(
                f"{NAME} needs {error.name}, which is not installed; run: pip install 'maia[demo]'",
                reason="EXTRA_MISSING",
                metadata={"module": error.name, "extra": "demo"},
            ) from error
        return cls(weights.load(path or weights.SHIPPED))

    @property
    def info(self) -> SubjectInfo:
        """Its description."""
        return self._info

    def measure(self, pictures: Sequence[Rgb], units: Sequence[Unit], *, maps: bool = True) -> Measurements:
        """Measure units on pictures, as the protocol says; a map covers the largest centred square."""
        pixels = np.stack([to_input(rgb) for rgb in pictures])
        outputs = self._network.look(pixels, [unit.layer for unit in units])
        responses = [outputs[unit.layer][:, unit.index] for unit in units]
        return Measurements(
            activations=np.stack([response.max(axis=(1, 2)) for response in responses], axis=1),
            maps=tuple(response.astype(np.float16) for response in responses) if maps else (),
            frames=tuple(Frame.centre_square(rgb.shape[1], rgb.shape[0]) for rgb in pictures),
        )

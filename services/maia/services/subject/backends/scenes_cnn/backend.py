"""The subject `scenes-cnn` as the server sees it: pictures and units in, measurements out.

A picture of any size is cropped to its largest centred square, which is resized (bilinear, antialiased) to 112 × 112.
So a map covers that square, and what lies beside it in a long picture is not seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self, cast

import numpy as np
from numpy.typing import NDArray

from maia.services.subject.backends.scenes_cnn.preprocess import INPUT_SIZE, to_input
from maia.services.subject.model import Answers, Input, Layer, SubjectInfo
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

    @property
    def nbytes(self) -> int:
        """Of its weights."""
        return sum(tensor.nbytes for tensor in self._network.state_dict().values())

    def prepare(self, rgb: Rgb) -> _Input:
        """Crop and resize; a map covers the largest centred square."""
        return _Input(Frame.centre_square(rgb.shape[1], rgb.shape[0]), to_input(rgb))

    def look(self, inputs: Sequence[Input], layers: Sequence[str]) -> Mapping[str, Answers]:
        """Run the network, as the protocol says."""
        pixels = np.stack([cast("_Input", one).pixels for one in inputs])
        return {name: _Answers(values) for name, values in self._network.look(pixels, layers).items()}


@dataclass(frozen=True, slots=True)
class _Input:
    frame: Frame
    pixels: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class _Answers:
    """float32, (pictures, units, h, w)."""

    values: NDArray[np.float32]

    @property
    def nbytes(self) -> int:
        return self.values.nbytes

    def maps(self, row: int, units: Sequence[int]) -> NDArray[np.float32]:
        return self.values[row, list(units)]

"""What one layer answered to one batch, read where it lies: only what is asked for comes to the host."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maia.services.subject.backends.networks.directions import Directions
from maia.services.subject.backends.networks.layout import Layout


@dataclass(frozen=True, slots=True)
class Reading:
    """Brings the results of one pass to the host, beside the passes that follow it on a GPU.

    Attributes:
        stream: To work on; None where there are no streams.
        done: When the pass is over.
    """

    stream: torch.cuda.Stream | None = None
    done: torch.cuda.Event | None = None

    @classmethod
    def after_now(cls, stream: torch.cuda.Stream | None) -> Reading:
        """Return one for a pass that has just been queued on the current stream."""
        if stream is None:
            return cls()
        done = torch.cuda.Event()  # type: ignore[no-untyped-call]
        done.record()
        return cls(stream, done)

    @torch.inference_mode()
    def fetch(self, compute: Callable[[], Tensor]) -> NDArray[np.float32]:
        """Return what `compute` returns, on the host and as float32."""
        if self.stream is None or self.done is None:
            return compute().float().cpu().numpy()
        with torch.cuda.stream(self.stream):
            self.stream.wait_event(self.done)
            return compute().float().cpu().numpy()


@dataclass(frozen=True, slots=True)
class LayerAnswers:
    """The answers of a layer; a `maia.services.subject.model.Answers`.

    Attributes:
        output: What the module returned.
        layout: How to read it.
        reading: Brings it to the host.
    """

    output: Tensor
    layout: Layout
    reading: Reading

    @property
    def nbytes(self) -> int:
        """The memory that it holds, on whichever device."""
        return self.output.untyped_storage().nbytes()

    def maps(self, row: int, units: Sequence[int]) -> NDArray[np.float32]:
        """Return maps, as the protocol says."""
        return self.reading.fetch(lambda: self.layout.maps(self.output, row, units))


@dataclass(frozen=True, slots=True)
class DirectionAnswers:
    """The answers of directions in a layer; a `maia.services.subject.model.Answers`.

    Attributes:
        base: Of the layer.
        directions: Computed from it when they are asked for.
    """

    base: LayerAnswers
    directions: Directions

    @property
    def nbytes(self) -> int:
        """The memory of the layer's answers, which these are computed from."""
        return self.base.nbytes

    def maps(self, row: int, units: Sequence[int]) -> NDArray[np.float32]:
        """Return maps, as the protocol says."""
        base = self.base
        return base.reading.fetch(lambda: self.directions.respond(base.layout.maps(base.output, row), units))

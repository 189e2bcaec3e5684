"""The pictures that drive a unit most."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maia.services.exemplars.model import TOP
from maia.services.subject.model import Input, Selective, Unit
from maia.services.synthetic.choosing import Photographs
from maia.wire.errors import MaiaError
from maia.wire.maps import Frame, masked_pixels
from maia.wire.pictures import Rgb, decode

_AHEAD: Final = 4
"""Pictures that are made ready while the model looks at another: tens of megabytes each."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """A unit's exemplars, highest activation first.

    Attributes:
        slots: int64, (exemplars,): places in the folder; at most TOP.
        activations: float32, (exemplars,), above 0.
        images: uint8, (exemplars, size, size, 3).
        masks: bool, (exemplars, size, size): where the unit responds.
        unreadable: Pictures that were left out, since they cannot be read.
    """

    slots: NDArray[np.int64]
    activations: NDArray[np.float32]
    images: NDArray[np.uint8]
    masks: NDArray[np.bool_]
    unreadable: int


@dataclass(frozen=True, slots=True)
class _Ready:
    slot: int
    rgb: Rgb
    input: Input


def rank(
    subject: Selective,
    unit: Unit,
    photographs: Photographs,
    slots: Sequence[int],
    *,
    size: int,
    on_picture: Callable[[int], None],
) -> Ranked:
    """Run a unit over pictures and keep those that drive it most.

    Each is resized to a square first, as MAIA does, and measured as that: whoever measures a kept picture again finds
    its activation.

    Args:
        subject: Whose unit it is.
        unit: Which.
        photographs: The pictures.
        slots: Which of them, ascending; of equal activations the earlier one is kept.
        size: Side of the square in pixels.
        on_picture: Is told how many are done.
    """
    best: list[tuple[float, _Ready, NDArray[np.bool_]]] = []
    unreadable = 0
    part = subject.part(unit)
    for done, ready in enumerate(_ahead(subject, photographs, slots, size), 1):
        if ready is None:
            unreadable += 1
        else:
            found = subject.look([ready.input], [part])[part].maps(0, [unit.index])[0]
            activation = float(found.max())
            if activation > 0 and (len(best) < TOP or activation > best[-1][0]):
                mask = masked_pixels((size, size), found, Frame.whole(size, size), 0.0)
                best.append((activation, ready, mask))
                best.sort(key=lambda one: -one[0])  # stable: earlier ones stay before their equals
                del best[TOP:]
        on_picture(done)
    return Ranked(
        np.array([ready.slot for _, ready, _ in best], np.int64),
        np.array([activation for activation, _, _ in best], np.float32),
        np.array([ready.rgb for _, ready, _ in best], np.uint8).reshape(-1, size, size, 3),
        np.array([mask for _, _, mask in best], np.bool_).reshape(-1, size, size),
        unreadable,
    )


def _ahead(subject: Selective, photographs: Photographs, slots: Sequence[int], size: int) -> Iterator[_Ready | None]:
    """Pictures made ready, in order; None for one that cannot be read."""

    def make(slot: int) -> _Ready | None:
        try:
            rgb = decode(photographs.read(slot))
        except (OSError, MaiaError):
            return None
        square = np.asarray(Image.fromarray(rgb).resize((size, size), Image.Resampling.LANCZOS))
        return _Ready(slot, square, subject.prepare(square))

    waiting: deque[Future[_Ready | None]] = deque()
    with ThreadPoolExecutor(_AHEAD) as threads:
        try:
            for slot in slots:
                waiting.append(threads.submit(make, slot))
                if len(waiting) > _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            threads.shutdown(wait=True, cancel_futures=True)

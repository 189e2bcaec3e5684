"""What layers answered to pictures, kept for whoever measures the same picture next."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from maia.services.subject.model import Answers
from maia.wire.maps import Frame

__all__ = ["AnswerCache", "Seen"]

_Place: TypeAlias = tuple[str, str, bytes]  # subject with its revision, layer, digest of the picture's file


@dataclass(frozen=True, slots=True)
class Seen:
    """What a layer answered to one picture.

    Attributes:
        answers: To the batch in which it was.
        row: Its place there.
        frame: What of the picture the maps cover.
    """

    answers: Answers
    row: int
    frame: Frame


@dataclass(slots=True, eq=False)
class _Batch:
    answers: Answers
    size: int
    places: set[_Place]


class AnswerCache:
    """Bounded in bytes; the batch that was looked at longest ago goes first. Used from any thread.

    One picture that many agents measure, or for many units, costs one pass. What is kept is what the pass has left
    where it ran, whole batches of a layer, so that keeping it costs no copy.
    """

    def __init__(self, max_bytes: int) -> None:
        """Hold nothing.

        Args:
            max_bytes: Of all answers together; 0 keeps nothing.
        """
        self._max_bytes: Final = max_bytes
        self._batches: OrderedDict[int, _Batch] = OrderedDict()
        self._where: dict[_Place, tuple[int, Seen]] = {}
        self._bytes = 0
        self._numbers = 0
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """What it holds."""
        return self._bytes

    def get(self, subject: str, layers: Sequence[str], picture: bytes) -> dict[str, Seen]:
        """Return what there is of these layers.

        Args:
            subject: Name and revision; another precision is another revision.
            layers: Asked for.
            picture: Digest of the picture's file.
        """
        found = {}
        with self._lock:
            for layer in layers:
                held = self._where.get((subject, layer, picture))
                if held is not None:
                    number, found[layer] = held
                    self._batches.move_to_end(number)
        return found

    def put(
        self, subject: str, pictures: Sequence[bytes], frames: Sequence[Frame], answers: Mapping[str, Answers]
    ) -> None:
        """Keep what layers answered to a batch.

        Args:
            subject: As in `get`.
            pictures: Digests, in the order of the batch.
            frames: One for each.
            answers: By layer.
        """
        for layer, one in answers.items():
            size = one.nbytes
            if size > self._max_bytes:
                continue
            with self._lock:
                self._numbers += 1
                places = {
                    (subject, layer, picture): (self._numbers, Seen(one, row, frame))
                    for row, (picture, frame) in enumerate(zip(pictures, frames, strict=True))
                }
                for place in places:
                    self._forget(place)
                self._where |= places
                self._batches[self._numbers] = _Batch(one, size, set(places))
                self._bytes += size
                self._shrink()

    def drop(self, subject: str) -> None:
        """Forget all answers of a subject."""
        with self._lock:
            for place in [place for place in self._where if place[0] == subject]:
                self._forget(place)

    def _forget(self, place: _Place) -> None:
        """Forget one place, and its batch with the last of its places."""
        number, _ = self._where.pop(place, (0, None))
        batch = self._batches.get(number)
        if batch is not None:
            batch.places.discard(place)
            if not batch.places:
                self._remove(number)

    def _shrink(self) -> None:
        while self._bytes > self._max_bytes:
            self._remove(next(iter(self._batches)))

    def _remove(self, number: int) -> None:
        batch = self._batches.pop(number)
        self._bytes -= batch.size
        for place in batch.places:
            del self._where[place]

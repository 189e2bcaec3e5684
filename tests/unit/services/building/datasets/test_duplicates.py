"""Duplicates are the same bytes, found with few of them read."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from maia.services.building.datasets.duplicates import DuplicateSearch
from maia.services.building.datasets.packed import UNREADABLE
from maia.services.building.datasets.progress import unheard
from maia.wire.errors import PreconditionError


class Pictures:
    """Pictures in memory, which count what is read of them."""

    def __init__(self, pictures: Sequence[bytes | Exception]) -> None:
        self._pictures = pictures
        self.read: dict[int, int] = {}
        self._lock = threading.Lock()

    @property
    def sizes(self) -> NDArray[np.int64]:
        return np.array([len(data) if isinstance(data, bytes) else 3 for data in self._pictures], np.int64)

    def parts(self, slot: int, spans: Sequence[range]) -> Iterator[bytes]:
        data = self._pictures[slot]
        if not isinstance(data, bytes):
            raise data
        for span in spans:
            with self._lock:
                self.read[slot] = self.read.get(slot, 0) + len(span)
            yield data[span.start : span.stop]


def found(*pictures: bytes | Exception) -> dict[int, int]:
    return dict(DuplicateSearch(Pictures(pictures), unheard).found())


BODIES = st.binary(min_size=1, max_size=2).map(lambda data: data * 5000) | st.binary(max_size=1)


@settings(max_examples=40)
@given(st.lists(BODIES, max_size=12))
def test_every_repetition_points_to_the_first(pictures: list[bytes]) -> None:
    expected = {slot: pictures.index(data) for slot, data in enumerate(pictures) if pictures.index(data) != slot}
    assert found(*pictures) == expected


def test_the_same_size_is_not_enough() -> None:
    assert found(b"abc", b"abd", b"abc", b"ab", b"abd") == {2: 0, 4: 1}


def test_the_same_ends_are_not_enough() -> None:
    ends = b"x" * 4096
    one, other = ends + b"1" * 100 + ends, ends + b"2" * 100 + ends
    assert found(one, other, other, one) == {2: 1, 3: 0}


def test_a_difference_just_inside_either_end_counts() -> None:
    same = bytearray(b"x" * 20_000)
    for place in (0, 4095, 4096, 20_000 - 4097, 20_000 - 4096, 19_999):
        other = same.copy()
        other[place] = 0
        assert found(bytes(same), bytes(other)) == {}


def test_parts_do_not_run_into_one_another() -> None:
    """Files of several chunks, equal but for one byte in the last."""
    one = b"x" * (5 << 20)
    assert found(one, one[:-5000] + b"y" + one[-4999:], one) == {2: 0}


def test_only_what_may_be_equal_is_read() -> None:
    ends = b"x" * 4096
    pictures = Pictures([b"a" * 9000, b"b" * 9001, b"c" * 9000, ends + b"1" * 9000 + ends, ends + b"1" * 9000 + ends])
    assert DuplicateSearch(pictures, unheard).found() == {4: 3}
    assert pictures.read == {0: 8192, 2: 8192, 3: 8192 + 17192, 4: 8192 + 17192}


def test_what_cannot_be_read_is_a_duplicate_of_nothing() -> None:
    gone = OSError("gone")
    assert found(gone, b"abc", PreconditionError("changed"), gone, b"abc") == {4: 1}


def test_what_could_not_be_looked_at_is_not_opened() -> None:
    class Unlooked(Pictures):
        @property
        def sizes(self) -> NDArray[np.int64]:
            return np.array([UNREADABLE, UNREADABLE, 1, 1], np.int64)

    pictures = Unlooked([b"a", b"a", b"a", b"a"])
    assert DuplicateSearch(pictures, unheard).found() == {3: 2}
    assert pictures.read.keys() == {2, 3}


def test_a_search_is_made_once_however_many_ask() -> None:
    pictures = Pictures([b"abc"] * 50)
    told: list[tuple[str, int, int]] = []
    search = DuplicateSearch(pictures, lambda *step: told.append(step))
    with ThreadPoolExecutor(8) as threads:
        answers = [future.result() for future in [threads.submit(search.found) for _ in range(8)]]
    assert all(answer is answers[0] for answer in answers)
    assert answers[0] == dict.fromkeys(range(1, 50), 0)
    assert pictures.read == dict.fromkeys(range(50), 3)
    assert told == [("comparing", done, 50) for done in range(1, 51)]


def test_more_pictures_than_are_read_at_once() -> None:
    assert found(*[b"%d" % (number % 1500) for number in range(4500)]) == {
        slot: slot % 1500 for slot in range(1500, 4500)
    }

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from maia.services.subject.cache import AnswerCache
from maia.wire.maps import Frame

FRAME = Frame.whole(1, 1)


@dataclass(frozen=True, eq=False)
class Sized:
    nbytes: int

    def maps(self, row: int, units: object) -> NDArray[np.float32]:
        raise NotImplementedError


def put(cache: AnswerCache, answers: Sized, *pictures: bytes, layer: str = "layer", subject: str = "s") -> None:
    cache.put(subject, pictures, [FRAME] * len(pictures), {layer: answers})


def test_what_was_put_is_found_by_subject_layer_and_picture() -> None:
    cache, batch = AnswerCache(100), Sized(40)
    put(cache, batch, b"one", b"two")
    assert cache.get("s", ["layer", "other"], b"two")["layer"].row == 1
    assert cache.get("s", ["layer"], b"two")["layer"].answers is batch
    assert cache.get("s", ["layer"], b"three") == cache.get("t", ["layer"], b"one") == {}
    assert cache.nbytes == 40


def test_the_batch_looked_at_longest_ago_goes_first() -> None:
    cache = AnswerCache(100)
    for name in (b"one", b"two"):
        put(cache, Sized(40), name)
    assert cache.get("s", ["layer"], b"one")
    put(cache, Sized(40), b"three")
    assert [bool(cache.get("s", ["layer"], name)) for name in (b"one", b"two", b"three")] == [True, False, True]


def test_what_is_larger_than_the_bound_is_not_kept_and_loses_nothing() -> None:
    cache = AnswerCache(100)
    put(cache, Sized(60), b"one")
    put(cache, Sized(101), b"two")
    assert cache.get("s", ["layer"], b"one")
    assert not cache.get("s", ["layer"], b"two")


def test_a_batch_goes_with_the_last_of_its_pictures() -> None:
    cache = AnswerCache(100)
    put(cache, Sized(40), b"one", b"two")
    put(cache, Sized(10), b"one")
    assert cache.nbytes == 50
    put(cache, Sized(10), b"two")
    assert cache.nbytes == 20


def test_a_subject_that_is_put_away_is_forgotten() -> None:
    cache = AnswerCache(100)
    put(cache, Sized(40), b"one", subject="s")
    put(cache, Sized(30), b"one", subject="t")
    cache.drop("s")
    assert cache.nbytes == 30
    assert cache.get("t", ["layer"], b"one")


@given(
    st.lists(
        st.tuples(
            st.lists(st.sampled_from([b"a", b"b", b"c", b"d"]), min_size=1, max_size=4),
            st.integers(0, 60),
            st.sampled_from(["x", "y"]),
        ),
        max_size=30,
    )
)
def test_it_never_holds_more_than_its_bound_and_answers_with_the_last_put(
    puts: list[tuple[list[bytes], int, str]],
) -> None:
    cache = AnswerCache(100)
    last: dict[tuple[str, bytes], Sized] = {}
    for pictures, size, layer in puts:
        batch = Sized(size)
        put(cache, batch, *pictures, layer=layer)
        last |= {(layer, picture): batch for picture in pictures}
        assert cache.nbytes <= 100
        held = set()
        for (name, picture), expected in last.items():
            for found in cache.get("s", [name], picture).values():
                assert found.answers is expected
                held.add(expected)
        assert cache.nbytes == sum(one.nbytes for one in held)

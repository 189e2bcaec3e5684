"""Parts of a unit list."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maia.cli.chunks import Chunk
from maia.cli.errors import CommandError
from maia.cli.units import Wish


@given(count=st.integers(0, 200), total=st.integers(1, 50))
def test_chunks_are_disjoint_alike_in_size_and_together_the_list(count: int, total: int) -> None:
    items = list(range(count))
    parts = [Chunk.of(total, index).of_list(items) for index in range(total)]
    assert [item for part in parts for item in part] == items
    sizes = {len(part) for part in parts}
    assert max(sizes) - min(sizes) <= 1


def test_without_flags_it_is_the_whole_list() -> None:
    assert Chunk.of(None, None).of_list([3, 1, 2]) == [3, 1, 2]


@pytest.mark.parametrize(
    ("total", "index", "said"),
    [
        (4, None, "--total-chunks needs --chunk-id"),
        (None, 0, "--chunk-id needs --total-chunks"),
        (0, 0, "at least 1"),
        (4, 4, "--chunk-id is 4; of 4 chunks it must be 0 to 3"),
        (4, -1, "--chunk-id is -1"),
    ],
)
def test_what_is_no_chunk_is_refused(total: int | None, index: int | None, said: str) -> None:
    with pytest.raises(CommandError, match=said):
        Chunk.of(total, index)


def test_commands_that_draw_units_by_the_same_seed_share_them_without_overlap() -> None:
    wish = Wish.of("m", None, units=None, file=None, count=7)
    sizes = {"a": 50, "b": 8}

    def named() -> list[tuple[str, int]]:
        return [(layer, index) for layer, indices in wish.choose(sizes, seed=3).items() for index in indices]

    parts = [unit for index in range(4) for unit in Chunk.of(4, index).of_list(named())]
    assert len(parts) == len(set(parts)) == 14
    assert parts == named()

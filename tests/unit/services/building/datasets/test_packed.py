"""Names in one buffer are the names that went in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maia.services.building.datasets.packed import PackedNames, PictureList

PICTURES = st.lists(st.tuples(st.binary(max_size=12), st.integers(-1, 2**40)))


def listed(pictures: list[tuple[bytes, int]]) -> PictureList:
    files = PictureList()
    for name, size in pictures:
        files.append(name, size)
    return files


@given(PICTURES)
def test_names_and_sizes_come_back(pictures: list[tuple[bytes, int]]) -> None:
    files = listed(pictures)
    assert list(zip(files.names, files.sizes.tolist(), strict=True)) == pictures
    assert [(files.names[slot], files.size(slot)) for slot in range(len(files))] == pictures


@given(PICTURES, PICTURES)
def test_revisions_differ_exactly_if_the_pictures_do(
    some: list[tuple[bytes, int]], others: list[tuple[bytes, int]]
) -> None:
    assert (listed(some).revision() == listed(others).revision()) == (some == others)


def test_names_cannot_run_into_one_another() -> None:
    assert listed([(b"ab", 1), (b"c", 1)]).revision() != listed([(b"a", 1), (b"bc", 1)]).revision()


@pytest.mark.parametrize("number", [-1, 2])
def test_a_number_that_no_name_has(number: int) -> None:
    names = PackedNames()
    names.append(b"a")
    names.append(b"b")
    with pytest.raises(IndexError, match="0 to 1"):
        names[number]

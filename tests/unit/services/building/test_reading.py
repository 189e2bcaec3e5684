from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from tests.unit.services.building.planted import Numbered, Planted, Table, numbered

from maia.services.building import reading
from maia.services.building.reading import read_batches
from maia.wire.errors import OverloadedError
from maia.wire.pictures import Rgb

SUBJECT = Table({"layer": np.zeros((60, 1, 1, 1), np.float32)})


def test_batches_come_in_order_and_few_are_read_ahead() -> None:
    dataset = Planted([numbered(slot) for slot in range(58)])
    with ThreadPoolExecutor(4) as pool:
        for done, batch in enumerate(read_batches(dataset, SUBJECT, range(15), 4, pool)):
            assert batch.number == done
            assert list(batch.slots) == list(range(done * 4, min(done * 4 + 4, 58)))
            assert [one.slot for one in batch.inputs if isinstance(one, Numbered)] == list(batch.slots)
            assert max(dataset.read_slots) < (done + 3) * 4


def test_a_part_of_the_batches_is_read_alone() -> None:
    dataset = Planted([numbered(slot) for slot in range(20)])
    with ThreadPoolExecutor(4) as pool:
        batches = list(read_batches(dataset, SUBJECT, range(2, 4), 6, pool))
    assert [batch.number for batch in batches] == [2, 3]
    assert [list(batch.slots) for batch in batches] == [[12, 13, 14, 15, 16, 17], [18, 19]]
    assert sorted(dataset.read_slots) == list(range(12, 20))


def test_a_lack_of_memory_is_no_fault_of_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(_: bytes) -> Rgb:
        raise OverloadedError("there is no memory")

    monkeypatch.setattr(reading, "decode", decode)
    with ThreadPoolExecutor(1) as pool, pytest.raises(OverloadedError):
        list(read_batches(Planted([numbered(0)]), SUBJECT, range(1), 1, pool))


def test_neither_is_a_subject_that_cannot_prepare_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def prepare(_: Rgb) -> Numbered:
        raise ZeroDivisionError

    monkeypatch.setattr(SUBJECT, "prepare", prepare)
    with ThreadPoolExecutor(1) as pool, pytest.raises(ZeroDivisionError):
        list(read_batches(Planted([numbered(0)]), SUBJECT, range(1), 1, pool))

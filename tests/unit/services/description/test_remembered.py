from __future__ import annotations

from maia.services.description.remembered import Remembered


def test_the_answers_used_longest_ago_are_forgotten() -> None:
    remembered = Remembered(2)
    assert remembered.get(b"a") is None
    remembered.put(b"a", "1")
    remembered.put(b"b", "2")
    assert remembered.get(b"a") == "1"
    remembered.put(b"c", "3")
    assert [remembered.get(key) for key in (b"a", b"b", b"c")] == ["1", None, "3"]

"""Files that change while they are in use, also in ways that leave no trace on their contents."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from maia.wire.errors import PreconditionError
from maia.wire.watching import Watched


class Reading:
    """Reads a file, unless something is in the way."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.in_the_way = ""

    def __call__(self) -> str:
        if self.in_the_way:
            raise PreconditionError(self.in_the_way)
        return self.file.read_text()


@pytest.fixture
def reading(tmp_path: Path) -> Reading:
    file = tmp_path / "file"
    file.write_text("one")
    return Reading(file)


def test_what_has_changed_is_read_once(reading: Reading) -> None:
    watched = Watched([reading.file], reading)
    assert not watched.look()
    reading.file.write_text("two")
    assert watched.look()
    assert not watched.look()
    assert watched.current == "two"


def test_what_was_in_the_way_may_go_without_a_trace_on_the_file(reading: Reading) -> None:
    watched = Watched([reading.file], reading)
    reading.file.write_text("two")
    reading.in_the_way = "too many open files"
    with pytest.raises(PreconditionError, match="too many open files"):
        watched.look()
    assert not watched.look()  # told once
    assert watched.current == "one"
    reading.in_the_way = ""
    assert watched.look()
    assert watched.current == "two"


def test_another_cause_is_told_too(reading: Reading) -> None:
    watched = Watched([reading.file], reading)
    reading.file.write_text("two")
    for cause in ("first", "second"):
        reading.in_the_way = cause
        with pytest.raises(PreconditionError, match=cause):
            watched.look()


def test_a_copy_of_the_same_size_and_time_is_another(reading: Reading) -> None:
    watched = Watched([reading.file], reading)
    before = reading.file.stat()
    reading.file.write_text("two")
    os.utime(reading.file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert watched.look()


def test_files_that_were_only_touched_hold_the_same(reading: Reading) -> None:
    watched = Watched([reading.file], reading)
    reading.file.chmod(0o600)
    assert not watched.look()

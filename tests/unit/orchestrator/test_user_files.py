"""Files that a user names are small, and files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from maia.orchestrator.user_files import MOST_BYTES, read_small_text


def test_a_file_of_the_largest_size_is_read_and_a_larger_one_is_not(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text("é".ljust(MOST_BYTES - 1))
    assert len(read_small_text(file)) == MOST_BYTES - 1
    file.write_text("é".ljust(MOST_BYTES))
    with pytest.raises(OSError, match="larger than 1 MiB"):
        read_small_text(file)


def test_what_is_no_regular_file_is_not_opened(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)  # whoever opens it waits for a writer
    for path in (pipe, tmp_path, Path("/dev/zero")):
        with pytest.raises(OSError, match="no regular file"):
            read_small_text(path)

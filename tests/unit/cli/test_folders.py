"""Folders that a command will write into."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from maia.cli.errors import CommandError
from maia.cli.folders import check_writable, nearest


def test_a_folder_need_not_exist_and_is_not_made(tmp_path: Path) -> None:
    check_writable(tmp_path / "a" / "b", "--out")
    assert list(tmp_path.iterdir()) == []
    assert nearest(tmp_path / "a" / "b") == tmp_path
    assert nearest(Path("surely-not-there/x")) == Path()


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CommandError, match=r"cannot write into .*file/a: .*file is no folder; use another --out"):
        check_writable(tmp_path / "file" / "a", "--out")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_of_somebody_else_is_named(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(0o500)
    with pytest.raises(CommandError, match="closed may not be written; use another --out"):
        check_writable(closed / "a", "--out")

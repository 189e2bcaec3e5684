"""Folders that a command will write into."""

from __future__ import annotations

import os
import tempfile
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


def test_a_folder_of_somebody_else_is_named() -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own lies in one that only its user may enter
        Path(folder).chmod(0o755)
        closed = Path(folder) / "closed"
        closed.mkdir(0o555)
        message = _refusal_for_nobody(closed / "a")
    assert "closed may not be written; use another --out" in message


def _refusal_for_nobody(folder: Path) -> str:
    """Ask as an ordinary user, since the superuser may write everywhere."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setuid(65534)
            check_writable(folder, "--out")
        except CommandError as error:
            os.write(write, error.message.encode())
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    with os.fdopen(read) as answer:
        return answer.read()

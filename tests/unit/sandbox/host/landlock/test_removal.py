"""Removing a folder that someone made hard to remove."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from maia.sandbox.host.tiers.landlock.removal import remove_tree


def test_no_depth_is_too_deep(tmp_path: Path) -> None:
    folder = tmp_path / "f"
    folder.mkdir()
    place = os.open(folder, os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("d", dir_fd=place)
        below = os.open("d", os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = below
    os.close(place)
    remove_tree(folder)
    assert not folder.exists()


@pytest.mark.parametrize("mode", [0o000, 0o100, 0o300, 0o400, 0o500])
def test_rights_that_were_taken_away_come_back(tmp_path: Path, mode: int) -> None:
    inner = tmp_path / "f" / "a" / "b"
    inner.mkdir(parents=True)
    (inner / "file").touch()
    inner.chmod(mode)
    inner.parent.chmod(mode)
    remove_tree(tmp_path / "f")
    assert not (tmp_path / "f").exists()


def test_names_that_the_removal_would_use_itself_are_no_obstacle(tmp_path: Path) -> None:
    folder = tmp_path / "f"
    for name in ("-0", "-1", "-3/-2/-1/-0"):
        (folder / name).mkdir(parents=True)
    (folder / "-2").touch()
    remove_tree(folder)
    assert not folder.exists()


def test_a_link_is_removed_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir(mode=0o750)
    (tmp_path / "f" / "a").mkdir(parents=True)
    (tmp_path / "f" / "a" / "link").symlink_to(tmp_path / "kept")
    remove_tree(tmp_path / "f")
    assert (tmp_path / "kept").stat().st_mode & 0o777 == 0o750
    assert not (tmp_path / "f").exists()


def test_a_folder_that_is_gone_is_nothing_to_remove(tmp_path: Path) -> None:
    remove_tree(tmp_path / "f")

"""Files of folders: in the order of their bytes, whatever the disk says, and no loop is walked."""

from __future__ import annotations

import os
import socket
import tempfile
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.services.building.datasets.trees import write_files

from maia.services.building.datasets.listing import list_files
from maia.services.building.datasets.packed import UNREADABLE
from maia.wire.errors import PreconditionError

PNG = frozenset({b".png"})
NAMES = st.text(st.sampled_from("aAbZ0 -.~é"), min_size=1, max_size=3).filter(lambda name: not name.startswith("."))


def names(folder: Path, limit: int | None = None) -> list[bytes]:
    return list(list_files(folder, PNG, limit=limit).files.names)


@given(st.sets(st.tuples(st.lists(NAMES, max_size=3), NAMES).map(lambda path: "/".join([*path[0], f"{path[1]}.png"]))))
def test_the_order_is_that_of_the_bytes_of_whole_paths(paths: set[str]) -> None:
    # A name cannot be both a file's and a folder's; no folder's name here ends with ".png".
    paths = {path for path in paths if not any(part.endswith(".png") for part in path.split("/")[:-1])}
    with tempfile.TemporaryDirectory() as folder:
        write_files(Path(folder), dict.fromkeys(paths, b""))
        expected = sorted(os.fsencode(path) for path in paths)
        assert names(Path(folder)) == expected
        assert names(Path(folder), limit=2) == expected[:2]


def test_a_folder_sorts_as_the_paths_in_it_do(tmp_path: Path) -> None:
    write_files(tmp_path, dict.fromkeys(["a.png", "a/b.png", "a-b.png", "a0.png", "a/c/d.png", "B.png"], b""))
    assert names(tmp_path) == [b"B.png", b"a-b.png", b"a.png", b"a/b.png", b"a/c/d.png", b"a0.png"]


def test_names_that_are_not_utf8_are_listed(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\xff.png")).write_bytes(b"1")
    assert names(tmp_path) == [b"\xff.png"]


def test_hidden_and_other_files_are_counted(tmp_path: Path) -> None:
    write_files(tmp_path, dict.fromkeys([".a.png", ".git/b.png", "c.txt", "d/e.TXT", "f.PNG", "g"], b"1"))
    listing = list_files(tmp_path, PNG)
    assert list(listing.files.names) == [b"f.PNG"]
    assert str(listing.passed_over) == "2 .txt, 2 hidden, 1 without an extension"


def test_pipes_and_sockets_are_passed_over(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "b.png"))
        listing = list_files(tmp_path, PNG)
    assert (len(listing.files), str(listing.passed_over)) == (0, "2 pipes, sockets or devices")


def test_links_to_files_and_folders_are_followed(tmp_path: Path) -> None:
    write_files(tmp_path / "elsewhere", {"a.png": b"123", "b/c.png": b"4"})
    root = write_files(tmp_path / "root", {"z.png": b""})
    (root / "link.png").symlink_to(tmp_path / "elsewhere" / "a.png")
    (root / "class").symlink_to(tmp_path / "elsewhere")
    listing = list_files(root, PNG)
    assert list(listing.files.names) == [b"class/a.png", b"class/b/c.png", b"link.png", b"z.png"]
    assert listing.files.sizes.tolist() == [3, 1, 3, 0]


@pytest.mark.parametrize("target", [".", "..", "../..", "/"])
def test_a_link_to_a_folder_around_it_is_passed_over(tmp_path: Path, target: str) -> None:
    root = write_files(tmp_path / "around" / "root", {"a/b.png": b""})
    (root / "a" / "loop").symlink_to(Path("..") / target if target != "/" else target)
    listing = list_files(root, PNG)
    assert list(listing.files.names) == [b"a/b.png"]
    assert str(listing.passed_over) == "1 links to a folder around them"


def test_links_that_lead_to_one_another_come_to_an_end(tmp_path: Path) -> None:
    write_files(tmp_path, {"a/x.png": b"", "b/y.png": b""})
    (tmp_path / "a" / "to").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "to").symlink_to(tmp_path / "a")
    assert names(tmp_path) == [b"a/to/y.png", b"a/x.png", b"b/to/x.png", b"b/y.png"]


def test_what_cannot_be_looked_at_keeps_its_slot(tmp_path: Path) -> None:
    write_files(tmp_path, {"a.png": b"1", "c.png": b"2"})
    (tmp_path / "b.png").symlink_to("nothing")
    (tmp_path / "d.png").symlink_to("d.png")
    listing = list_files(tmp_path, PNG)
    assert list(listing.files.names) == [b"a.png", b"b.png", b"c.png", b"d.png"]
    assert listing.files.sizes.tolist() == [1, UNREADABLE, 1, UNREADABLE]


def test_a_folder_that_goes_away_is_an_error_and_not_left_out(tmp_path: Path) -> None:
    with pytest.raises(PreconditionError, match="No such file") as caught:
        list_files(tmp_path / "gone", PNG)
    assert caught.value.reason == "DATASET_UNREADABLE"


def test_twenty_thousand_files_take_little_memory(tmp_path: Path) -> None:
    for folder in range(20):
        (tmp_path / f"n{folder:08d}").mkdir()
        for number in range(1000):
            os.close(os.open(tmp_path / f"n{folder:08d}" / f"n{folder:08d}_{number}.png", os.O_CREAT | os.O_WRONLY))
    told: list[tuple[str, int, int]] = []
    tracemalloc.start()
    try:
        listing = list_files(tmp_path, PNG, progress=lambda *step: told.append(step))
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(listing.files) == 20_000
    # Names of 27 bytes with two numbers of 8: a path object alone takes ten times that.
    assert held < 1.2e6
    assert peak < 1.6e6
    assert told[0] == ("listing", 1024, 0)
    assert told[-1] == ("listing", 20_000, 20_000)

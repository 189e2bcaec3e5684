"""Folders of pictures."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.unit.services.building.datasets.trees import write_files

from maia.services.building.datasets.folder import FolderDataset
from maia.services.building.datasets.listing import list_files
from maia.services.building.datasets.names import PICTURES
from maia.wire.errors import PreconditionError


def opened(folder: Path) -> FolderDataset:
    return FolderDataset(folder, list_files(folder, PICTURES))


def test_classes_in_subfolders_to_any_depth(tmp_path: Path) -> None:
    folder = write_files(
        tmp_path / "animals",
        {"dog/1.jpg": b"d1", "cat/2.JPEG": b"c2", "cat/big/3.webp": b"c3", "0.png": b"0", "labels.csv": b""},
    )
    dataset = opened(folder)
    assert dataset.name == "animals"
    assert [dataset.title(slot) for slot in range(len(dataset))] == [
        "0.png",
        "cat/2.JPEG",
        "cat/big/3.webp",
        "dog/1.jpg",
    ]
    assert [dataset.read(slot) for slot in range(len(dataset))] == [b"0", b"c2", b"c3", b"d1"]
    assert dataset.notes == ("1 file that is no picture was passed over: 1 .csv",)


def test_the_revision_goes_with_the_pictures_not_with_the_place(tmp_path: Path) -> None:
    files = {"b/1.png": b"one", "a.png": b"two"}
    here, there = write_files(tmp_path / "here", files), tmp_path / "there" / "copy"
    shutil.copytree(here, there)
    os.utime(there / "a.png", (0, 0))
    revision = opened(here).revision
    assert len(revision) == 12
    assert int(revision, 16) >= 0
    assert opened(there).revision == revision
    (there / "a.png").write_bytes(b"three")
    assert opened(there).revision != revision
    (here / "a.png").rename(here / "c.png")
    assert opened(here).revision != revision


def test_the_place_of_a_dataset_is_that_where_it_was_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(tmp_path / "set", {"a.png": b"1"})
    monkeypatch.chdir(tmp_path / "set")
    dataset = opened(Path())
    monkeypatch.chdir("/")
    assert (dataset.name, dataset.read(0)) == ("set", b"1")


def test_duplicates_across_folders_and_links(tmp_path: Path) -> None:
    write_files(tmp_path, {"a/1.png": b"same", "b/1.png": b"diff", "b/2.png": b"same"})
    (tmp_path / "c.png").symlink_to("b/1.png")
    assert opened(tmp_path).duplicates == {2: 0, 3: 1}


def test_what_cannot_be_read_keeps_its_slot_and_says_why(tmp_path: Path) -> None:
    write_files(tmp_path, {"a.png": b"1", "c.png": b"3"})
    (tmp_path / "b.png").symlink_to("nothing")
    dataset = opened(tmp_path)
    with pytest.raises(FileNotFoundError):
        dataset.read(1)
    assert (dataset.read(0), dataset.title(1), dataset.read(2)) == (b"1", "b.png", b"3")
    assert dataset.duplicates == {}
    assert dataset.notes == ("1 of 3 pictures cannot be looked at, as behind a broken link",)


@pytest.mark.parametrize("data", [b"", b"short", b"much longer than before"])
def test_a_file_of_another_size_is_another_picture(tmp_path: Path, data: bytes) -> None:
    write_files(tmp_path, {"a.png": b"as it was"})
    dataset = opened(tmp_path)
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(PreconditionError, match=r"a\.png has changed") as caught:
        dataset.read(0)
    assert caught.value.reason == "DATASET_CHANGED"


def test_what_is_too_large_is_not_read(tmp_path: Path) -> None:
    write_files(tmp_path, {"a.png": b"1", "b.png": b"", "c.png": b""})
    for name in ("b.png", "c.png"):  # each as sparse as it is large
        os.truncate(tmp_path / name, 300_000_000_000)
    dataset = opened(tmp_path)
    assert dataset.duplicates == {}
    with pytest.raises(PreconditionError, match="has 300000000000 bytes; at most 33554432 are accepted") as caught:
        dataset.read(1)
    assert caught.value.reason == "PICTURE_TOO_LARGE"
    os.truncate(tmp_path / "a.png", 300_000_000_000)
    with pytest.raises(PreconditionError, match="has changed"):
        dataset.read(0)


def test_a_file_that_became_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    write_files(tmp_path, {"a.png": b"1"})
    dataset = opened(tmp_path)
    (tmp_path / "a.png").unlink()
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(OSError, match="not a regular file"):
        dataset.read(0)


def test_many_threads_read_at_once(tmp_path: Path) -> None:
    write_files(tmp_path, {f"{number:03d}.png": os.urandom(64) + b"%03d" % number for number in range(200)})
    dataset = opened(tmp_path)
    with ThreadPoolExecutor(16) as threads:
        ends = list(threads.map(lambda slot: dataset.read(slot)[-3:], [*range(200)] * 5))
    assert ends == [b"%03d" % slot for slot in range(200)] * 5


def test_parts_are_where_they_are_asked_for(tmp_path: Path) -> None:
    dataset = opened(write_files(tmp_path, {"a.png": b"abcd"}))
    assert list(dataset.parts(0, [range(2, 4), range(1)])) == [b"cd", b"a"]


def test_a_slot_that_is_not_there(tmp_path: Path) -> None:
    dataset = opened(write_files(tmp_path, {"a.png": b"1"}))
    with pytest.raises(IndexError):
        dataset.read(1)
    with pytest.raises(IndexError):
        dataset.read(-1)

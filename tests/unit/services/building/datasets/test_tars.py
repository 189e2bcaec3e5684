"""Tar archives: each member's own bytes, from archives of every dialect and of any state."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import shutil
import subprocess
import tarfile
import tempfile
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.services.building.datasets.trees import write_tar

from maia.services.building.datasets import failures
from maia.services.building.datasets.tars import TarDataset
from maia.wire.errors import InvalidRequestError, PreconditionError


def opened(*paths: Path, limit: int | None = None) -> TarDataset:
    return TarDataset([(os.fsencode(path.name), path) for path in paths], "set", limit=limit)


def contents(dataset: TarDataset) -> list[tuple[str, bytes]]:
    return [(dataset.title(slot), dataset.read(slot)) for slot in range(len(dataset))]


NAMES = st.text(st.sampled_from("abé/"), min_size=1, max_size=200).map(
    lambda name: f"x{name.replace('//', '/')}.png".replace("//", "/").replace("/.", "/z.")
)
MEMBERS = st.lists(st.tuples(NAMES, st.binary(max_size=1500)), min_size=1, max_size=6)


@settings(max_examples=60)
@given(MEMBERS, st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]))
def test_members_come_back_in_their_order(members: list[tuple[str, bytes]], form: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert contents(opened(write_tar(Path(folder) / "a.tar", members, form))) == members


@settings(max_examples=60)
@given(MEMBERS, st.data())
def test_of_a_tar_that_is_cut_off_what_is_whole_is_listed(
    members: list[tuple[str, bytes]], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write_tar(Path(folder) / "a.tar", members)
        with tarfile.open(path) as archive:
            ends = [info.offset_data + info.size for info in archive]
        cut = data.draw(st.integers(ends[0], ends[-1]))
        os.truncate(path, cut)
        dataset = opened(path)
        assert contents(dataset) == [member for member, end in zip(members, ends, strict=True) if end <= cut]
        assert f"of {cut}" in dataset.notes[0]


@settings(max_examples=60)
@given(st.binary(min_size=1, max_size=40), st.integers(0, 6000), MEMBERS)
def test_whatever_is_garbled_is_an_error_or_a_note_and_never_hangs(
    noise: bytes, place: int, members: list[tuple[str, bytes]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write_tar(Path(folder) / "a.tar", members)
        garbled = bytearray(path.read_bytes())
        place %= len(garbled) - len(noise)
        garbled[place : place + len(noise)] = noise
        path.write_bytes(garbled)
        try:
            dataset = opened(path)
        except PreconditionError as error:
            assert error.reason in {"DATASET_DAMAGED", "DATASET_EMPTY"}  # noqa: PT017  # it need not be raised
        else:
            for slot in range(len(dataset)):
                assert len(dataset.read(slot)) == dataset.sizes[slot]


def test_a_garbled_header_in_the_middle_is_told(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", [("1.png", b"1"), ("2.png", b"2"), ("3.png", b"3")], tarfile.GNU_FORMAT)
    data = bytearray(path.read_bytes())
    data[1024:1030] = b"\xff" * 6
    path.write_bytes(data)
    dataset = opened(path)
    assert contents(dataset) == [("1.png", b"1")]
    cut = f"{path} is whole up to byte 1024 of {len(data)}: a header there is garbled or cut off"
    assert dataset.notes == (f"{cut}; what may follow is left out",)


def test_a_tar_without_its_mark_at_the_end_may_be_cut_off(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", [("1.png", b"1")], tarfile.GNU_FORMAT)
    os.truncate(path, 1024)
    assert "without the mark" in opened(path).notes[0]


def test_headers_that_lead_backwards_are_no_endless_loop(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", [("1.png", b"1"), ("2.png", b"2")], tarfile.GNU_FORMAT)
    data = bytearray(path.read_bytes())
    header = data[1024:1536]
    header[124:136] = (-1024).to_bytes(12, "big", signed=True)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    data[1024:1536] = header
    path.write_bytes(data)
    dataset = opened(path)
    assert contents(dataset) == [("1.png", b"1")]
    assert "garbled" in dataset.notes[0]


def test_several_tars_follow_one_another(tmp_path: Path) -> None:
    first = write_tar(tmp_path / "s-0.tar", [("b.jpg", b"1"), ("a.jpg", b"2")])
    second = write_tar(tmp_path / "s-1.tar", [("readme.txt", b"")])
    third = write_tar(tmp_path / "s-2.tar", [("./c/a.jpg", b"3"), ("a.json", b"{}")])
    dataset = opened(first, second, third)
    assert contents(dataset) == [("s-0.tar/b.jpg", b"1"), ("s-0.tar/a.jpg", b"2"), ("s-2.tar/c/a.jpg", b"3")]
    assert dataset.notes == ("2 files that are no pictures were passed over: 1 .json, 1 .txt",)
    assert contents(opened(first, second, third, limit=1)) == [("s-0.tar/b.jpg", b"1")]


def test_tars_after_the_last_picture_that_is_taken_are_not_opened(tmp_path: Path) -> None:
    first = write_tar(tmp_path / "s-0.tar", [("a.jpg", b"1"), ("b.jpg", b"2")])
    assert len(opened(first, tmp_path / "missing.tar", limit=2)) == 2


def test_links_folders_hidden_files_and_files_with_holes_are_no_pictures(tmp_path: Path) -> None:
    (tmp_path / "holes.png").touch()
    os.truncate(tmp_path / "holes.png", 1 << 20)
    subprocess.run(["tar", "-cSf", "a.tar", "holes.png"], cwd=tmp_path, check=True)
    with tarfile.open(tmp_path / "b.tar", "w") as archive:
        for name, kind in (("d.png", tarfile.DIRTYPE), ("s.png", tarfile.SYMTYPE), ("h.png", tarfile.LNKTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "a.png"
            archive.addfile(info)
        for name in ("a.png", "._a.png", ".git/b.png"):
            archive.addfile(tarfile.TarInfo(name))
    dataset = opened(tmp_path / "a.tar", tmp_path / "b.tar")
    assert contents(dataset) == [("b.tar/a.png", b"")]
    assert "3 links, or files with holes, 2 hidden" in dataset.notes[0]


def test_what_the_program_tar_writes_is_read(tmp_path: Path) -> None:
    long = "d" * 120
    (tmp_path / long).mkdir()
    (tmp_path / long / ("p" * 130 + ".png")).write_bytes(b"long")
    for form in ("gnu", "pax", "ustar", "v7"):
        where = tmp_path if form in {"gnu", "pax"} else tmp_path / long
        if form in {"ustar", "v7"}:
            (where / "short.png").write_bytes(b"short")
        member = long if where == tmp_path else "short.png"
        subprocess.run(["tar", f"--format={form}", "-cf", tmp_path / f"{form}.tar", member], cwd=where, check=True)
    assert contents(opened(tmp_path / "gnu.tar")) == [(f"{long}/{'p' * 130}.png", b"long")]
    assert ("short.png", b"short") in contents(opened(tmp_path / "ustar.tar")) == contents(opened(tmp_path / "v7.tar"))
    assert (f"{long}/{'p' * 130}.png", b"long") in contents(opened(tmp_path / "pax.tar"))


def test_names_that_are_not_utf8_are_spelled_out(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", [(os.fsdecode(b"\xff\n.png"), b"1")], tarfile.GNU_FORMAT)
    assert contents(opened(path)) == [(r"\xff\n.png", b"1")]


def test_the_revision_goes_with_the_members_not_with_the_place(tmp_path: Path) -> None:
    here = write_tar(tmp_path / "a.tar", [("1.png", b"1"), ("2.png", b"22")])
    there = tmp_path / "other" / "b.tar"
    there.parent.mkdir()
    shutil.copy(here, there)
    parts = [write_tar(tmp_path / "p0.tar", [("1.png", b"1")]), write_tar(tmp_path / "p1.tar", [("2.png", b"22")])]
    assert opened(there).revision == opened(here).revision == opened(*parts).revision
    assert opened(write_tar(there, [("2.png", b"22"), ("1.png", b"1")])).revision != opened(here).revision


def test_duplicates_within_and_across_tars(tmp_path: Path) -> None:
    big, other = b"x" * 9000, b"x" * 4500 + b"y" + b"x" * 4499
    first = write_tar(tmp_path / "0.tar", [("a.png", big), ("b.png", other), ("c.png", big)])
    second = write_tar(tmp_path / "1.tar", [("a.png", other), ("b.png", b"z")])
    assert opened(first, second).duplicates == {2: 0, 3: 1}


@pytest.mark.parametrize(
    ("packed", "program"), [(gzip.compress, "gunzip"), (bz2.compress, "bunzip2"), (lzma.compress, "unxz")]
)
def test_a_compressed_tar_is_refused_with_what_to_do(tmp_path: Path, packed: object, program: str) -> None:
    path = write_tar(tmp_path / "a.tar", [("1.png", b"1")])
    assert callable(packed)
    path.write_bytes(packed(path.read_bytes()))
    with pytest.raises(InvalidRequestError, match=f"unpack it once: {program} <") as caught:
        opened(path)
    assert caught.value.reason == "DATASET_UNSUPPORTED"


@pytest.mark.parametrize("data", [b"", b"<html>", b"x" * 5000])
def test_what_is_no_tar_at_all_is_an_error(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.tar").write_bytes(data)
    with pytest.raises(PreconditionError, match="no tar archive") as caught:
        opened(tmp_path / "a.tar")
    assert caught.value.reason == "DATASET_DAMAGED"


def test_a_broken_tar_among_good_ones_is_told(tmp_path: Path) -> None:
    good = write_tar(tmp_path / "b.tar", [("1.png", b"1")])
    (tmp_path / "a.tar").write_bytes(b"")
    (tmp_path / "c.tar").write_bytes(good.read_bytes()[:300])
    dataset = opened(tmp_path / "a.tar", good, tmp_path / "c.tar")
    assert [data for _, data in contents(dataset)] == [b"1"]
    assert ["a.tar is whole up to byte 0 of 0" in dataset.notes[0], "c.tar" in dataset.notes[1]] == [True, True]


def test_what_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = opened(write_tar(tmp_path / "a.tar", [("1.png", b"1" * 9), ("2.png", b"2")]))
    monkeypatch.setattr(failures, "MAX_PICTURE_BYTES", 8)
    with pytest.raises(PreconditionError, match="has 9 bytes"):
        dataset.read(0)
    assert dataset.read(1) == b"2"


def test_a_tar_without_pictures_says_what_is_in_it(tmp_path: Path) -> None:
    with pytest.raises(PreconditionError, match=r"found 1 other files: 1 \.txt") as caught:
        opened(write_tar(tmp_path / "a.tar", [("a.txt", b"")]))
    assert caught.value.reason == "DATASET_EMPTY"
    with pytest.raises(PreconditionError, match="found no other file"):
        opened(write_tar(tmp_path / "b.tar", []))


def test_a_tar_that_has_changed_is_not_read(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", [("1.png", b"1")])
    dataset = opened(path)
    write_tar(path, [("1.png", b"1" * 20_000)])
    with pytest.raises(PreconditionError) as caught:
        dataset.read(0)
    assert caught.value.reason == "DATASET_CHANGED"


def test_a_tar_that_is_gone_keeps_the_slots(tmp_path: Path) -> None:
    first, second = (write_tar(tmp_path / f"{number}.tar", [("a.png", b"%d" % number)]) for number in range(2))
    dataset = opened(first, second)
    second.unlink()
    with pytest.raises(FileNotFoundError):
        dataset.read(1)
    assert dataset.read(0) == b"0"
    assert dataset.duplicates == {}


def test_parts_are_where_they_are_asked_for(tmp_path: Path) -> None:
    dataset = opened(write_tar(tmp_path / "a.tar", [("0.png", b"xxxx"), ("1.png", b"abcd")]))
    assert list(dataset.parts(1, [range(2, 4), range(1)])) == [b"cd", b"a"]


@pytest.mark.parametrize("slot", [-1, 1])
def test_a_slot_that_is_not_there(tmp_path: Path, slot: int) -> None:
    dataset = opened(write_tar(tmp_path / "a.tar", [("1.png", b"1")]))
    with pytest.raises(IndexError):
        dataset.read(slot)
    with pytest.raises(IndexError):
        dataset.title(slot)


def test_threads_read_at_once_from_more_tars_than_stay_open(tmp_path: Path) -> None:
    paths = [
        write_tar(tmp_path / f"{tar:03d}.tar", [(f"{number}.png", b"%d %d" % (tar, number)) for number in range(3)])
        for tar in range(100)
    ]
    dataset = opened(*paths)
    before = len(list(Path("/proc/self/fd").iterdir()))
    slots = [slot * 7 % 300 for slot in range(3000)]
    with ThreadPoolExecutor(16) as threads:
        data = list(threads.map(dataset.read, slots))
    assert data == [b"%d %d" % divmod(slot, 3) for slot in slots]
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 64


def test_ten_thousand_members_take_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
        for number in range(10_000):
            archive.addfile(tarfile.TarInfo(f"{number:020d}.png"), io.BytesIO())
            archive.members.clear()  # type: ignore[attr-defined]  # the stubs leave it out
    tracemalloc.start()
    try:
        dataset = opened(path)
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(dataset) == 10_000
    assert held < 0.8e6
    assert peak < 1.2e6

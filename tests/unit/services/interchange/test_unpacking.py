"""Zips from anyone: nothing outside the folder, nothing beyond what was said."""

from __future__ import annotations

import random
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from maia.services.interchange.progress import Step
from maia.services.interchange.unpacking import unpack
from maia.wire.errors import PreconditionError

NOISE = random.Random(0).randbytes(5000)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tmp_path / "set.zip"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def inside(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def make(archive: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in members.items():
            made.writestr(name, data)


def test_exemplar_files_are_taken_and_others_are_not(archive: Path, folder: Path) -> None:
    members = {
        "net/": b"",
        "net/imagenet/layer4/images.npy": NOISE,
        "net/imagenet/layer4/ids.csv": b"1\n",
        "net/imagenet/layer4/preview.html": b"<p>",
        "__MACOSX/net/._images.npy": b"?",
    }
    make(archive, members)
    steps: list[Step] = []
    assert unpack(archive, folder, doing="unpacking set", on_step=steps.append) == 2
    assert inside(folder) == {"net/imagenet/layer4/images.npy", "net/imagenet/layer4/ids.csv"}
    assert (folder / "net/imagenet/layer4/images.npy").read_bytes() == NOISE
    assert steps[-1] == Step("unpacking set", 5002, 5002, "bytes")


@pytest.mark.parametrize(
    "name",
    [
        "../images.npy",
        "net/../../images.npy",
        "/tmp/images.npy",
        "net\\..\\images.npy",
        "..\\images.npy",
        "../else.txt",
    ],
)
def test_a_path_that_leads_outside_is_refused_before_anything_is_written(
    name: str, archive: Path, folder: Path
) -> None:
    make(archive, {"net/imagenet/layer4/images.npy": NOISE, name: b"x"})
    with pytest.raises(PreconditionError, match="has a file outside its folder") as caught:
        unpack(archive, folder, doing="")
    assert caught.value.reason == "ARCHIVE_UNSAFE"
    assert inside(folder.parent) == {"set.zip"}


def test_links_are_refused(archive: Path, folder: Path) -> None:
    link = zipfile.ZipInfo("net")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr(link, "/etc")
        made.writestr("net/images.npy", b"x")
    with pytest.raises(PreconditionError, match="has a link: 'net'"):
        unpack(archive, folder, doing="")
    assert inside(folder) == set()


def test_two_files_of_one_name_are_refused(archive: Path, folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(archive, "w") as made:
            made.writestr("net/images.npy", b"x")
            made.writestr("net/images.npy", b"y")
    with pytest.raises(PreconditionError, match="has two files of one name"):
        unpack(archive, folder, doing="")


def test_encrypted_files_are_refused(archive: Path, folder: Path) -> None:
    make(archive, {"images.npy": NOISE})
    data = bytearray(archive.read_bytes())
    directory = data.rindex(b"PK\x01\x02")
    data[directory + 8] |= 1
    archive.write_bytes(bytes(data))
    with pytest.raises(PreconditionError, match="is encrypted"):
        unpack(archive, folder, doing="")


def _resize(said: int) -> Callable[[bytearray], None]:
    """Let the zip's directory and the file's header say another size."""

    def spoil(data: bytearray) -> None:
        struct.pack_into("<I", data, data.index(b"PK\x03\x04") + 22, said)
        struct.pack_into("<I", data, data.rindex(b"PK\x01\x02") + 24, said)

    return spoil


def _flip(data: bytearray) -> None:
    data[200] ^= 0xFF


@pytest.mark.parametrize("spoil", [_resize(10), _resize(1_000_000), _flip, lambda data: data.clear()])
def test_a_zip_that_is_not_what_it_says_is_refused(
    spoil: Callable[[bytearray], None], archive: Path, folder: Path
) -> None:
    make(archive, {"images.npy": NOISE})
    data = bytearray(archive.read_bytes())
    spoil(data)
    archive.write_bytes(bytes(data))
    with pytest.raises(PreconditionError) as caught:
        unpack(archive, folder, doing="")
    assert caught.value.reason in {"ARCHIVE_DAMAGED", "ARCHIVE_UNSAFE"}
    written = folder / "images.npy"
    assert not written.exists() or written.stat().st_size <= len(NOISE)


def test_a_bomb_is_not_begun(archive: Path, folder: Path) -> None:
    """What its directory says is more than there is room for."""
    make(archive, {"images.npy": NOISE})
    data = bytearray(archive.read_bytes())
    with zipfile.ZipFile(archive, "a") as made:
        for number in range(3):
            made.writestr(f"{number}/images.npy", b"")
    data = bytearray(archive.read_bytes())
    place = 0
    while (place := data.find(b"PK\x01\x02", place)) >= 0:
        struct.pack_into("<I", data, place + 24, 0xFFFFFFFE)
        place += 4
    archive.write_bytes(bytes(data))
    free = 10_000_000_000
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": free}))
        with pytest.raises(PreconditionError, match=f"17179869176 bytes do not fit into .* {free} are free") as caught:
            unpack(archive, folder, doing="")
    assert caught.value.reason == "DISK_FULL"
    assert inside(folder) == set()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("images.npy/deep/masks.npy", "has a file and a folder of one name: 'images.npy'"),
        (f"{'x' * 256}/masks.npy", "has a name of 256 bytes, and 255 is the most: 'xxx"),
        (f"net/{'é' * 128}/masks.npy", "has a name of 256 bytes, and 255 is the most: 'éé"),
    ],
)
def test_names_that_no_folder_can_have_are_the_fault_of_the_zip(
    name: str, says: str, archive: Path, folder: Path
) -> None:
    make(archive, {"images.npy": b"x", name: b"y"})
    with pytest.raises(PreconditionError, match=f"{says}.*; nothing of it was taken: remove it") as caught:
        unpack(archive, folder, doing="")
    assert caught.value.reason == "ARCHIVE_UNSAFE"
    assert "another folder" not in caught.value.message
    assert inside(folder) == set()


def test_a_path_that_is_too_long_where_it_goes_says_so(archive: Path, folder: Path) -> None:
    make(archive, {"/".join(["x" * 250] * 17) + "/images.npy": b"x"})
    with pytest.raises(PreconditionError, match="File name too long; choose a folder with a shorter path") as caught:
        unpack(archive, folder, doing="")
    assert caught.value.reason == "FOLDER_UNWRITABLE"

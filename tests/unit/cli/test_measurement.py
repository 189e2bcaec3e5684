"""The files that `maia measure` reads and names."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from maia.cli.errors import CommandError
from maia.cli.measurement import view_files
from maia.cli.picture_files import read_picture


def test_views_are_named_by_picture_and_unit_and_never_share_a_name() -> None:
    files = [Path("cat.png"), Path("dogs/cat.jpg"), Path("cat.v2.png")]
    views = view_files(files, [("layer3", 12), ("layer 3", 12)], Path("views"))
    names = ["cat.layer3-12.png", "cat.layer3-12-2.png", "cat.v2.layer3-12.png"]
    others = ["cat.layer_3-12.png", "cat.layer_3-12-2.png", "cat.v2.layer_3-12.png"]
    assert list(views.values()) == [Path("views") / name for name in names + others]
    assert view_files([Path("a.png")], [("../x/y", 1)], Path()) == {
        (Path("a.png"), "../x/y", 1): Path("a..._x_y-1.png")
    }


def test_no_view_takes_the_place_of_a_picture_that_is_measured() -> None:
    mine, seen = Path("x.png"), Path("here/../x.a-1.png")
    views = view_files([mine, seen], [("a", 1)], Path())
    assert list(views.values()) == [Path("x.a-1-2.png"), Path("x.a-1.a-1.png")]


def test_a_picture_keeps_its_bytes_and_true_type(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (30, 20)).save(buffer, "JPEG")
    (tmp_path / "wrong.png").write_bytes(buffer.getvalue())
    picture = read_picture(tmp_path / "wrong.png")
    assert (picture.media_type, picture.width, picture.height) == ("image/jpeg", 30, 20)
    assert picture.data == buffer.getvalue()


@pytest.mark.parametrize(("data", "said"), [(b"", "no PNG"), (b"\x89PNG\r\n\x1a\n", "PNG"), (b"GIF89a", "no PNG")])
def test_what_is_no_picture_is_told_with_its_name(tmp_path: Path, data: bytes, said: str) -> None:
    file = tmp_path / "x.png"
    file.write_bytes(data)
    with pytest.raises(CommandError, match=said) as caught:
        read_picture(file)
    assert caught.value.message.startswith(f"{file} is no picture to measure: ")
    with pytest.raises(CommandError, match="cannot be read: Is a directory"):
        read_picture(tmp_path)


def test_what_has_no_end_is_not_read() -> None:
    with pytest.raises(CommandError, match="/dev/zero is no picture to measure: it is a device"):
        read_picture(Path("/dev/zero"))

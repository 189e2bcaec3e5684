"""Bytes from anyone become upright RGB pixels, or an error that names the picture."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from maia.type.v1 import type_pb2
from maia.wire import pictures
from maia.wire.errors import InvalidRequestError, OverloadedError
from maia.wire.pictures import decode, decode_picture, encode_png, png_picture, read_header

RED = (200, 30, 10)


def encoded(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *chunks: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IEND", b"")


def refused(data: bytes, reason: str = "PICTURE_UNREADABLE", media_type: str = "") -> str:
    with pytest.raises(InvalidRequestError) as caught:
        decode(data, index=7, media_type=media_type)
    assert caught.value.reason == reason
    assert caught.value.metadata["index"] == "7"
    return caught.value.message


@pytest.mark.parametrize(("form", "tolerance"), [("PNG", 0), ("JPEG", 6), ("WEBP", 12)])
def test_the_three_formats_decode(form: str, tolerance: int) -> None:
    data = encoded(Image.new("RGB", (20, 10), RED), form)
    rgb = decode(data, media_type=f"image/{form.lower()}")
    assert rgb.shape == (10, 20, 3)
    assert rgb.dtype == np.uint8
    assert np.abs(rgb.astype(int) - RED).max() <= tolerance
    assert read_header(data) == pictures.PictureHeader(f"image/{form.lower()}", 20, 10)


@given(st.integers(1, 40), st.integers(1, 40), st.randoms(use_true_random=False))
@settings(max_examples=20, deadline=None)
def test_png_keeps_every_pixel(height: int, width: int, random: object) -> None:
    rgb = np.random.default_rng(height * 41 + width).integers(0, 256, (height, width, 3), np.uint8)
    assert np.array_equal(decode(encode_png(rgb)), rgb)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.new("L", (4, 4), 128), (128, 128, 128)),
        (Image.new("1", (4, 4), 1), (255, 255, 255)),
        (Image.new("P", (4, 4), 0), (0, 0, 0)),
        (Image.new("RGBA", (4, 4), (200, 30, 10, 0)), (255, 255, 255)),
        (Image.new("RGBA", (4, 4), (200, 30, 10, 255)), RED),
        (Image.new("RGBA", (4, 4), (0, 0, 0, 128)), (127, 127, 127)),
        (Image.new("LA", (4, 4), (0, 0)), (255, 255, 255)),
        (Image.fromarray(np.full((4, 4), 0x8000, np.uint16)), (128, 128, 128)),
    ],
    ids=["grey", "bilevel", "palette", "transparent", "opaque", "half", "grey-alpha", "16-bit"],
)
def test_every_kind_of_png_becomes_rgb(image: Image.Image, expected: tuple[int, int, int]) -> None:
    assert decode(encoded(image))[2, 2].tolist() == list(expected)


def test_sixteen_bits_of_colour_are_reduced() -> None:
    rows = b"".join(b"\x00" + struct.pack(">HHH", 0xC800, 0x1E00, 0x0A00) * 2 for _ in range(2))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    assert decode(data)[0, 0].tolist() == list(RED)


def test_a_colour_that_means_transparent_is_white() -> None:
    data = encoded(Image.new("RGB", (4, 4), RED), transparency=RED)
    assert decode(data)[0, 0].tolist() == [255, 255, 255]


def test_cmyk_is_converted() -> None:
    data = encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=95)
    red, green, blue = decode(data)[8, 8].tolist()
    assert red > 240
    assert max(green, blue) < 15


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation_is_applied_and_the_header_agrees(form: str) -> None:
    image = Image.new("RGB", (40, 20), "black")
    image.paste("white", (0, 0, 20, 20))  # the left half
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise to see it upright
    data = encoded(image, form, exif=exif)
    rgb = decode(data)
    header = read_header(data)
    assert rgb.shape == (40, 20, 3)
    assert (header.height, header.width) == (40, 20)
    assert rgb[5].mean() > 250
    assert rgb[35].mean() < 5


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_an_animation_is_refused(form: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    assert "animation" in refused(encoded(frames[0], form, save_all=True, append_images=frames[1:]))


def test_a_photograph_with_a_second_picture_inside_is_its_first() -> None:
    first, second = Image.new("RGB", (16, 16), RED), Image.new("RGB", (8, 8), "blue")
    data = encoded(first, "MPO", save_all=True, append_images=[second])
    assert decode(data, media_type="image/jpeg").shape == (16, 16, 3)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_a_truncated_file_is_refused(form: str, share: float) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    data = encoded(Image.fromarray(noise), form)
    refused(data[: int(len(data) * share)])


@pytest.mark.parametrize("form", ["GIF", "BMP", "TIFF", "PPM", "ICO"])
def test_other_formats_are_refused(form: str) -> None:
    assert "no PNG, JPEG or WebP" in refused(encoded(Image.new("RGB", (16, 16)), form))


def test_a_text_is_refused() -> None:
    assert "no PNG, JPEG or WebP" in refused(b"<svg onload='x'/>" * 100)


@pytest.mark.parametrize("sides", [(10_000, 10_000), (65_500, 65_500), (2**31 - 1, 2**31 - 1)])
def test_a_header_over_the_limit_is_refused_before_decoding(sides: tuple[int, int]) -> None:
    refused(png(*sides, chunk(b"IDAT", zlib.compress(b"\x00" * 100))), "PICTURE_TOO_LARGE")


def test_a_file_over_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MAX_PICTURE_BYTES", 100)
    refused(encoded(Image.new("RGB", (64, 64), RED)) + b"\x00" * 100, "PICTURE_TOO_LARGE")


def test_metadata_that_unpacks_to_gigabytes_is_refused() -> None:
    bomb = b"key\x00\x00" + zlib.compress(b"\x00" * (8 << 20), 9)
    refused(png(8, 8, chunk(b"zTXt", bomb), chunk(b"IDAT", zlib.compress(b"\x00" * 25 * 8))))


def test_a_wrong_or_missing_media_type_is_refused() -> None:
    data = encoded(Image.new("RGB", (8, 8)))
    assert "is image/png" in refused(data, media_type="image/jpeg")
    with pytest.raises(InvalidRequestError, match="media_type is empty"):
        decode_picture(type_pb2.Picture(data=data))
    assert decode_picture(png_picture(data)).shape == (8, 8, 3)


@given(st.binary(max_size=300), st.sampled_from(["PNG", "JPEG", "WEBP"]), st.integers(0, 400))
@settings(max_examples=100, deadline=None)
def test_damage_raises_nothing_else(junk: bytes, form: str, at: int) -> None:
    data = encoded(Image.new("RGB", (12, 12), RED), form)
    for function in (decode, read_header):
        with contextlib.suppress(InvalidRequestError):
            function(data[:at] + junk + data[at + len(junk) :])


def test_nothing_is_read_from_disk(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(encoded(Image.new("RGB", (8, 8))))
    refused(str(path).encode())


def test_no_memory_is_no_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Image.Image) -> None:
        raise MemoryError

    data = encode_png(np.zeros((4, 4, 3), np.uint8))
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", full)
    with pytest.raises(OverloadedError, match="no memory left to decode picture 3") as caught:
        decode(data, index=3)
    assert caught.value.reason == "OUT_OF_MEMORY"

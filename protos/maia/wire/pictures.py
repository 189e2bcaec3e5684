"""Encoded pictures to pixels and back, where the bytes may come from anyone.

Decoding is allowed for three formats, bounded by the header before anything is decompressed, and always ends in the
same thing: RGB, 8 bits, upright. EXIF orientation is applied, transparency is composed on white, 16-bit, grey and CMYK
pictures are converted. Animations are refused: a unit's answer to many pictures would depend on the frame.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from maia.type.v1 import type_pb2
from maia.wire.errors import InvalidRequestError, OverloadedError
from maia.wire.limits import MAX_PICTURE_BYTES, MAX_PICTURE_PIXELS

Rgb = NDArray[np.uint8]
"""Pixels, uint8, shape (height, width, 3)."""

_FORMATS: Final = ("PNG", "JPEG", "WEBP")
# Pillow calls a JPEG with a second picture in it (a phone's depth or gain map) MPO; the first one is the photograph.
_MEDIA_TYPES: Final = {"PNG": "image/png", "JPEG": "image/jpeg", "MPO": "image/jpeg", "WEBP": "image/webp"}
_RETRY_AFTER_S: Final = 5.0
_ORIENTATION: Final = 0x0112
_SIDEWAYS: Final = frozenset({5, 6, 7, 8})


@dataclass(frozen=True, slots=True)
class PictureHeader:
    """What a picture says of itself before it is decoded; the size is that of the upright picture."""

    media_type: str
    width: int
    height: int


def read_header(data: bytes, *, index: int = 0) -> PictureHeader:
    """Read format and size without decoding the pixels.

    Args:
        data: The file's bytes.
        index: Place of the picture in its request, for the error.

    Raises:
        InvalidRequestError: PICTURE_UNREADABLE or PICTURE_TOO_LARGE, metadata "index".
    """
    with _opened(data, index) as image:
        width, height = image.size
        if _orientation(image) in _SIDEWAYS:
            width, height = height, width
        return PictureHeader(_MEDIA_TYPES[str(image.format)], width, height)


def decode(data: bytes, *, index: int = 0, media_type: str = "") -> Rgb:
    """Decode a picture.

    Args:
        data: The file's bytes.
        index: Place of the picture in its request, for the error.
        media_type: What the sender says that it is; "" for not said.

    Returns:
        uint8, shape (height, width, 3), RGB, upright.

    Raises:
        InvalidRequestError: PICTURE_UNREADABLE or PICTURE_TOO_LARGE, metadata "index".
        OverloadedError: OUT_OF_MEMORY.
    """
    with _opened(data, index) as image:
        actual = _MEDIA_TYPES[str(image.format)]
        if media_type and media_type != actual:
            raise _unreadable(index, f"it is called {media_type!r} but is {actual}")
        upright = _orientation(image) == 1
        image.load()
        return np.asarray(_as_rgb(image if upright else ImageOps.exif_transpose(image)))


def decode_picture(picture: type_pb2.Picture, *, index: int = 0) -> Rgb:
    """Decode a picture of a request; returns and raises as `decode`."""
    if not picture.media_type:
        raise _unreadable(index, "its media_type is empty; set image/png, image/jpeg or image/webp")
    return decode(picture.data, index=index, media_type=picture.media_type)


def encode_png(rgb: Rgb) -> bytes:
    """Encode pixels, uint8 of shape (height, width, 3), as PNG at the fast compression level."""
    buffer = io.BytesIO()
    Image.fromarray(rgb, "RGB").save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def png_picture(data: bytes) -> type_pb2.Picture:
    """Wrap the bytes of a PNG."""
    return type_pb2.Picture(data=data, media_type="image/png")


@contextmanager
def _opened(data: bytes, index: int) -> Iterator[Image.Image]:
    """Open a picture whose bounds hold; whatever decoding raises inside becomes PICTURE_UNREADABLE."""
    if len(data) > MAX_PICTURE_BYTES:
        raise _too_large(index, f"{len(data)} bytes; at most {MAX_PICTURE_BYTES} are accepted")
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PICTURE_PIXELS:
                raise _too_large(index, f"{width} × {height} pixels; at most {MAX_PICTURE_PIXELS} are accepted")
            if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
                raise _unreadable(index, "it is an animation; send one still picture")
            yield image
    except InvalidRequestError:
        raise
    except MemoryError as error:
        raise OverloadedError(
            f"there is no memory left to decode picture {index}; ask again later",
            retry_after_s=_RETRY_AFTER_S,
            reason="OUT_OF_MEMORY",
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(index, f"more than {MAX_PICTURE_PIXELS} pixels") from error
    except UnidentifiedImageError as error:
        raise _unreadable(index, "it is no PNG, JPEG or WebP file") from error
    except Exception as error:  # decoders raise whatever a malformed file makes them raise
        raise _unreadable(index, f"the file is damaged ({type(error).__name__})") from error


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation that stands before the pixels, 1 (upright) if none does."""
    if image.format == "PNG" and "exif" not in image.info:
        return 1  # Pillow would decode the whole picture to look behind it
    return int(image.getexif().get(_ORIENTATION, 1))


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):  # 16 bits of grey, which Pillow would clip instead of scale
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def _unreadable(index: int, why: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"picture {index} cannot be read: {why}", reason="PICTURE_UNREADABLE", metadata={"index": str(index)}
    )


def _too_large(index: int, why: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"picture {index} is too large: {why}", reason="PICTURE_TOO_LARGE", metadata={"index": str(index)}
    )

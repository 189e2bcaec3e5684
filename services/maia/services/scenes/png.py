"""A picture file that carries its scene, so that the editor can change the drawing instead of the pixels."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, Final

from PIL.PngImagePlugin import PngInfo

from maia.services.scenes.scene import MAX_JSON_CHARS, Scene, SceneError

if TYPE_CHECKING:
    from PIL.Image import Image

KEYWORD: Final = "maia-scene"

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_MAX_CHUNKS: Final = 64  # ours stands right behind the header


def encode(scene: Scene, image: Image) -> bytes:
    """Return the picture as PNG bytes with the scene in a text chunk; the same input gives the same bytes."""
    info = PngInfo()
    info.add_text(KEYWORD, scene.to_json())
    buffer = io.BytesIO()
    image.save(buffer, "PNG", pnginfo=info, compress_level=1)
    return buffer.getvalue()


def embedded_scene(data: bytes) -> Scene | None:
    """Return the scene that `encode` put into a PNG, or None if the bytes are another file or carry none.

    Reads chunk headers only: nothing is decompressed, and nothing behind the first pixel data is looked at.

    Raises:
        SceneError: There is a scene chunk, but what it holds is not a scene.
    """
    if not data.startswith(_SIGNATURE):
        return None
    position = len(_SIGNATURE)
    for _ in range(_MAX_CHUNKS):
        if position + 8 > len(data):
            return None
        length, kind = struct.unpack_from(">I4s", data, position)
        if kind == b"IDAT":
            return None
        body = data[position + 8 : position + 8 + min(length, len(KEYWORD) + 1 + MAX_JSON_CHARS + 1)]
        if kind == b"tEXt" and body.startswith(KEYWORD.encode() + b"\0"):
            try:
                text = body[len(KEYWORD) + 1 :].decode("ascii")
            except UnicodeDecodeError as error:
                raise SceneError("the picture's scene text is not ASCII") from error
            return Scene.from_json(text)
        position += length + 12
    return None

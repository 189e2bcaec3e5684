"""Pictures as vendors get them."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from PIL import Image

from maia.services.description.model import View
from maia.wire.pictures import encode_png

__all__ = ["SIDE", "SentPicture", "sent"]

SIDE: Final = 1568
"""Longest side in pixels; vendors shrink larger ones themselves, or refuse them where there are many."""

_PNG_MOST: Final = 1_000_000  # bytes; vendors bound a picture at some megabytes and a request at some dozens
_JPEG_QUALITY: Final = 92


@dataclass(frozen=True, slots=True)
class SentPicture:
    """A file, in base64."""

    media_type: Literal["image/png", "image/jpeg"]
    data: str


def sent(view: View) -> SentPicture:
    """Return the masked view of a picture: PNG, or JPEG where that would be large; at most SIDE pixels a side.

    It holds the pixels alone, not the sender's file, which may say where a photograph was taken.
    """
    image = Image.fromarray(view.shown, "RGB")
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    png = encode_png(np.asarray(image))
    if len(png) <= _PNG_MOST:
        return SentPicture("image/png", base64.b64encode(png).decode())
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return SentPicture("image/jpeg", base64.b64encode(buffer.getvalue()).decode())

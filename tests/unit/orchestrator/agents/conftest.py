"""A vendor on loopback, and pictures to send to it."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator

import numpy as np
import pytest
from PIL import Image
from tests.unit.orchestrator.agents.loopback import LoopbackVendor, loopback

from maia.orchestrator.conversation import Picture


@pytest.fixture
async def vendor(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LoopbackVendor]:
    """A running vendor without answers; nothing of this machine's environment speaks to it."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    async with loopback() as vendor:
        yield vendor


def _picture(media_type: str, colour: int) -> Picture:
    pixels = np.full((12, 16, 3), colour, np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format=media_type.removeprefix("image/").upper())
    return Picture(file.getvalue(), media_type, 16, 12)


@pytest.fixture
def pictures() -> tuple[Picture, Picture, Picture]:
    """A PNG, a JPEG and a WebP."""
    return _picture("image/png", 10), _picture("image/jpeg", 90), _picture("image/webp", 200)

"""Bounds on what crosses the wire, in one place."""

from __future__ import annotations

from typing import Final

MAX_MESSAGE_BYTES: Final = 64 * 1024 * 1024
"""Largest gRPC message that a client or server accepts (gRPC's own default is 4 MiB)."""

MAX_PICTURE_BYTES: Final = 32 * 1024 * 1024
"""Largest encoded picture."""

MAX_PICTURE_PIXELS: Final = 64 * 1000 * 1000
"""Largest picture after decoding, width × height; checked from the header, before anything is decoded."""

MAX_PROMPT_CHARS: Final = 20_000
"""Longest prompt or instruction."""

DRAIN_S: Final = 10.0
"""How long a server that was asked to stop waits for calls in flight."""

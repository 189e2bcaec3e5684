"""Bounds on what crosses the wire, in one place."""

from __future__ import annotations

from typing import Final

MAX_MESSAGE_BYTES: Final = 64 * 1024 * 1024
"""Largest gRPC message that a client or server accepts (gRPC's own default is 4 MiB)."""

MAX_HELD_BYTES: Final = 2048 * 1000 * 1000
"""Most bytes of the requests that a server holds, unless it is told otherwise."""

MAX_PICTURE_BYTES: Final = 32 * 1024 * 1024
"""Largest encoded picture."""

MAX_PICTURE_PIXELS: Final = 64 * 1000 * 1000
"""Largest picture after decoding, width × height; checked from the header, before anything is decoded. Also the most
that pictures may have together where all are needed at once."""

MAX_BATCH_PIXELS: Final = 16 * 1000 * 1000
"""Most pixels that a server decodes for one batch, unless a single picture has more."""

MAX_PROMPT_CHARS: Final = 20_000
"""Longest prompt or instruction."""

REQUESTS_AT_ONCE: Final = 8
"""Most requests of one client that a server reads at the same time; the others wait their turn."""

REQUEST_S: Final = 120.0
"""How long a request may take to come, from its turn on."""

MAX_STREAMS: Final = 1_000
"""Most calls at a time on one connection; a client keeps what is more until one has ended."""

DRAIN_S: Final = 10.0
"""How long a server that was asked to stop waits for calls in flight."""

CONNECTION_AGE_S: Final = 1800.0
"""How old the connection of a client to a tool server may become before it is asked to connect anew."""

CONNECTION_GRACE_S: Final = 3600.0
"""How long the calls that are in flight on such a connection may still take."""

MAX_METADATA_BYTES: Final = 32 * 1024
"""Largest headers or trailers of a call; an error's details travel in the trailers."""

MAX_MAP_SIDE: Final = 4096
"""Longest side of an activation map."""

MAX_PICTURES: Final = 1024
"""Most pictures or items in one request."""

MAX_MEASUREMENTS: Final = 1 << 20
"""Most (picture, unit) pairs in one request."""

"""How both ends of a connection notice that nothing comes through it any more, though nobody has closed it."""

from __future__ import annotations

from typing import Final

KEEPALIVE_S: Final = 15.0
"""Of silence on a connection with calls in flight, after which a ping is sent."""

KEEPALIVE_TIMEOUT_S: Final = 10.0
"""How long anything sent, a ping among it, may stay without an answer before the connection is given up."""

_LEAST_SHARE: Final = 0.5
"""Of `KEEPALIVE_S` that a server wants between two pings: jitter on the way must not make a client a nuisance."""

Options = tuple[tuple[str, int], ...]


def client_keepalive() -> Options:
    """Return the options of a channel."""
    return (
        ("grpc.keepalive_time_ms", round(KEEPALIVE_S * 1e3)),
        # For how long TCP may wait for what it has sent to arrive, and gRPC for a ping to come back.
        ("grpc.keepalive_timeout_ms", round(KEEPALIVE_TIMEOUT_S * 1e3)),
        ("grpc.http2.ping_timeout_ms", round(KEEPALIVE_TIMEOUT_S * 1e3)),
        # The default ends after two pings without data, so that nobody would watch over a call of some minutes.
        ("grpc.http2.max_pings_without_data", 0),
    )


def server_keepalive() -> Options:
    """Return the options of a server, which pings too: a client that is gone must not hold a session."""
    return (
        *client_keepalive(),
        # The default refuses a client that pings more often than every five minutes.
        ("grpc.http2.min_ping_interval_without_data_ms", round(KEEPALIVE_S * _LEAST_SHARE * 1e3)),
    )

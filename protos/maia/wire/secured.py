"""A channel that connects with certificates, sends a token, and goes on when their files are renewed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import grpc
from typing_extensions import override

from maia.wire.tls import ClientIdentity


class SecuredChannel(grpc.aio.Channel):
    """Makes its calls over a channel that is made anew once the certificates have changed.

    gRPC keeps the certificates that a channel was made with. Calls that were begun stay with the channel that they were
    begun on; it is closed with this one.
    """

    def __init__(
        self, identity: ClientIdentity, connect: Callable[[grpc.ChannelCredentials | None], grpc.aio.Channel]
    ) -> None:
        """Nothing is connected before the first call.

        Args:
            identity: What is shown.
            connect: Makes a channel, of certificates or for plain text.
        """
        self._identity = identity
        self._connect = connect
        self._current = connect(identity.channel)
        self._retired: list[grpc.aio.Channel] = []

    @property
    def current(self) -> grpc.aio.Channel:
        """The channel for a call that begins now."""
        if self._identity.renew():
            self._retired.append(self._current)
            self._current = self._connect(self._identity.channel)
        return self._current

    def metadata_with_token(self, metadata: Any) -> Any:  # noqa: ANN401  # whatever gRPC takes
        """Return a call's metadata and the token's."""
        return (*(metadata or ()), *self._identity.metadata)

    @override
    def unary_unary(self, *args: Any, **kwargs: Any) -> Any:
        return _Method(self, "unary_unary", args, kwargs)

    @override
    def unary_stream(self, *args: Any, **kwargs: Any) -> Any:
        return _Method(self, "unary_stream", args, kwargs)

    @override
    def stream_unary(self, *args: Any, **kwargs: Any) -> Any:
        return _Method(self, "stream_unary", args, kwargs)

    @override
    def stream_stream(self, *args: Any, **kwargs: Any) -> Any:
        return _Method(self, "stream_stream", args, kwargs)

    @override
    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self._current.get_state(try_to_connect)

    @override
    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._current.wait_for_state_change(last_observed_state)

    @override
    async def channel_ready(self) -> None:
        await self._current.channel_ready()

    @override
    async def close(self, grace: float | None = None) -> None:
        for channel in (*self._retired, self._current):
            await channel.close(grace)

    @override
    async def __aenter__(self) -> Self:
        return self

    @override
    async def __aexit__(self, *_: object) -> None:
        await self.close()


class _Method:
    """One method of a service; gRPC's own belongs to one channel."""

    def __init__(self, channel: SecuredChannel, kind: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._channel = channel
        self._make: Callable[[grpc.aio.Channel], Any] = lambda current: getattr(current, kind)(*args, **kwargs)
        self._on: grpc.aio.Channel | None = None
        self._method: Any = None

    def __call__(self, *args: Any, metadata: Any = None, **kwargs: Any) -> Any:  # noqa: ANN401  # as gRPC's own
        current = self._channel.current
        if current is not self._on:
            self._on, self._method = current, self._make(current)
        return self._method(*args, metadata=self._channel.metadata_with_token(metadata), **kwargs)

"""One channel to several replicas of a server, which are asked in turn.

gRPC itself takes several addresses for one channel only as numbers of one family (`ipv4:`, `ipv6:`), checks their
certificates against one common name, and tries a call again on whichever replica comes next, which may be the dead
one. Here each replica has a channel of its own, so that hosts, Unix sockets and DNS names may stand in one list and
each is known by its own certificate. gRPC still connects, reconnects and watches the health of each.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Container, Generator, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any, Final, Self

import grpc
from typing_extensions import override

from maia.wire.errors import OverloadedError
from maia.wire.status import from_rpc

_ATTEMPTS: Final = 4
_BACKOFF_S: Final = 0.1
_POLL_S: Final = 0.01
_NO_ROOM: Final = (OverloadedError.default_reason, "OUT_OF_MEMORY")
_COMING: Final = (grpc.ChannelConnectivity.IDLE, grpc.ChannelConnectivity.CONNECTING)


class ReplicatedChannel(grpc.aio.Channel):
    """Gives each call to the next replica that serves.

    A call of one request and one answer whose replica dies is made again at another at once, if its service is
    idempotent; where no other serves, up to three times within a second. One whose replica has no room is made at each
    other that serves, at once, before the shortest delay that any of them asked for is obeyed by whoever called. A
    stream stays with its replica.
    """

    def __init__(self, channels: Mapping[str, grpc.aio.Channel], *, idempotent: Container[str]) -> None:
        """Nothing is connected before the first call.

        Args:
            channels: By address; each turns READY only while its replica says that it serves.
            idempotent: Full names of the services whose calls may be made twice.
        """
        self._addresses = tuple(channels)
        self._channels = tuple(channels.values())
        self._idempotent = idempotent
        self._next = 0

    @property
    def channels(self) -> tuple[grpc.aio.Channel, ...]:
        """The channels of the replicas."""
        return self._channels

    async def pick(self, tried: Container[int], *, wait_for_ready: bool) -> int:
        """Return the replica that is to be asked next: one that serves and was not tried, if there is any.

        Args:
            tried: Those that this call has been to.
            wait_for_ready: Wait until one serves; otherwise, one that does not is returned, whose answer says why.
        """
        # Polled, since a watcher of gRPC's cannot be cancelled; and only while nobody serves.
        while True:
            states = [channel.get_state(try_to_connect=True) for channel in self._channels]
            turns = [(self._next + turn) % len(states) for turn in range(len(states))]
            serving = [one for one in turns if states[one] is grpc.ChannelConnectivity.READY]
            if serving:
                return self._taken(next((one for one in serving if one not in tried), serving[0]))
            if not wait_for_ready and not any(state in _COMING for state in states):
                return self._taken(next((one for one in turns if one not in tried), turns[0]))
            await asyncio.sleep(_POLL_S)

    def pick_now(self) -> int:
        """Return a replica without waiting: one that serves, or else the next."""
        states = [channel.get_state(try_to_connect=True) for channel in self._channels]
        turns = [(self._next + turn) % len(states) for turn in range(len(states))]
        return self._taken(next((one for one in turns if states[one] is grpc.ChannelConnectivity.READY), turns[0]))

    def _taken(self, replica: int) -> int:
        self._next = (replica + 1) % len(self._channels)
        return replica

    @override
    def unary_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        attempts = _ATTEMPTS if method.strip("/").partition("/")[0] in self._idempotent else 1
        methods = [channel.unary_unary(method, *args, **kwargs) for channel in self._channels]
        return partial(_Call, self, methods, attempts)

    @override
    def unary_stream(self, *args: Any, **kwargs: Any) -> Any:
        return self._streaming("unary_stream", args, kwargs)

    @override
    def stream_unary(self, *args: Any, **kwargs: Any) -> Any:
        return self._streaming("stream_unary", args, kwargs)

    @override
    def stream_stream(self, *args: Any, **kwargs: Any) -> Any:
        return self._streaming("stream_stream", args, kwargs)

    def _streaming(self, kind: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[..., Any]:
        methods = [getattr(channel, kind)(*args, **kwargs) for channel in self._channels]

        def begun(*given: Any, **how: Any) -> Any:  # noqa: ANN401  # as gRPC's own
            return methods[self.pick_now()](*given, **how)

        return begun

    @override
    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """Return the state of the replica that is best off."""
        states = [channel.get_state(try_to_connect) for channel in self._channels]
        best = (grpc.ChannelConnectivity.READY, *_COMING)
        return next((state for state in best if state in states), states[0])

    @override
    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        while self.get_state() is last_observed_state:  # noqa: ASYNC110  # nothing of gRPC's can be waited for
            await asyncio.sleep(_POLL_S)

    @override
    async def channel_ready(self) -> None:
        await self.pick((), wait_for_ready=True)

    @override
    async def close(self, grace: float | None = None) -> None:
        await asyncio.gather(*(channel.close(grace) for channel in self._channels))

    @override
    async def __aenter__(self) -> Self:
        return self

    @override
    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self._addresses)})"


class _Call(Awaitable[Any]):
    """A call that may go to several replicas, one after the other; as much of gRPC's own calls as ours are used by."""

    def __init__(
        self,
        channel: ReplicatedChannel,
        methods: Sequence[Callable[..., Any]],
        attempts: int,
        request: object,
        *,
        timeout: float | None = None,
        wait_for_ready: bool | None = None,
        **how: Any,  # noqa: ANN401  # whatever gRPC takes
    ) -> None:
        self._channel = channel
        self._methods = methods
        self._attempts = attempts
        self._until = None if timeout is None else time.monotonic() + timeout
        self._wait = bool(wait_for_ready)
        self._how = how
        self._last: Any = None
        self._task = asyncio.get_running_loop().create_task(self._answer(request))

    @override
    def __await__(self) -> Generator[Any, None, Any]:
        return self._task.__await__()

    def cancel(self) -> bool:
        return self._task.cancel()

    def done(self) -> bool:
        return self._task.done()

    async def code(self) -> grpc.StatusCode:
        await asyncio.wait([self._task])
        if self._task.cancelled():
            return grpc.StatusCode.CANCELLED
        error = self._task.exception()
        return error.code() if isinstance(error, grpc.aio.AioRpcError) else grpc.StatusCode.OK

    async def trailing_metadata(self) -> grpc.aio.Metadata:
        await asyncio.wait([self._task])
        return await self._last.trailing_metadata() if self._last is not None else grpc.aio.Metadata()

    async def _answer(self, request: object) -> object:
        tried: set[int] = set()
        full: list[tuple[float, grpc.aio.AioRpcError]] = []
        attempt = 0
        while True:
            replica = await self._picked(tried)
            if replica in tried and full:
                raise min(full, key=itemgetter(0))[1]
            attempt += 1
            if replica in tried:  # no other serves
                await asyncio.sleep(min(_BACKOFF_S * 2 ** (attempt - 2), self._left() or 1.0))
            tried.add(replica)
            self._last = self._methods[replica](
                request, timeout=self._left(), wait_for_ready=self._wait or None, **self._how
            )
            try:
                return await self._last
            except grpc.aio.AioRpcError as error:
                wait_s = _wait_for_room_s(error)
                if wait_s is not None and self._attempts > 1:
                    full.append((wait_s, error))
                elif error.code() is not grpc.StatusCode.UNAVAILABLE or attempt >= self._attempts:
                    raise

    async def _picked(self, tried: Container[int]) -> int:
        try:
            async with asyncio.timeout(self._left()):
                return await self._channel.pick(tried, wait_for_ready=self._wait)
        except TimeoutError:
            none = grpc.aio.Metadata()
            raise grpc.aio.AioRpcError(
                grpc.StatusCode.DEADLINE_EXCEEDED, none, none, f"no replica of {self._channel} was ready"
            ) from None

    def _left(self) -> float | None:
        return None if self._until is None else max(0.0, self._until - time.monotonic())


def _wait_for_room_s(error: grpc.aio.AioRpcError) -> float | None:
    """Return after how long a replica that has no room wants to be asked again; None if it is anything else.

    A quota of the client or of a vendor is obeyed: to ask another replica would only get round it.
    """
    if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
        return None
    told = from_rpc(error, server="")
    return told.retry_after_s if isinstance(told, OverloadedError) and told.reason in _NO_ROOM else None

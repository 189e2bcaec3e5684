"""A host: one jail, many sessions."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING, Final, Literal, Self

from maia.execution.v1 import execution_pb2 as pb
from maia.sandbox.errors import ProtocolError, SandboxError, SessionError
from maia.sandbox.host.broker import Broker
from maia.sandbox.host.session import Session
from maia.sandbox.host.tiers.jail.remedies import unavailable
from maia.sandbox.host.tiers.jail.tier import JailTier, ZygoteDiedError
from maia.sandbox.limits import Limits
from maia.sandbox.protocol.frames import encode, read_frame
from maia.sandbox.protocol.toolspec import check_names
from maia.sandbox.protocol.values import encode_value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from maia.sandbox.host.guest_process import GuestProcess
    from maia.sandbox.host.tools import ImageSource, Tool

__all__ = ["Host", "Policy"]

Policy = Literal["restricted", "off"]

_READY_S: Final = 20.0
_STREAM_LIMIT: Final = 1 << 20
_ATTEMPTS: Final = 3
"""How often a session is asked for when the zygote dies meanwhile."""


class Host:
    """Opens sessions on this machine. An async context manager; sessions end with it at the latest.

    ::

        async with Host(cache_dir=user_cache_dir(os.environ)) as host:
            session = await host.open(tools=[Tool.of(search)])
            outcome = await session.run("print(search('lamp'))")
    """

    def __init__(self, *, cache_dir: Path | None = None) -> None:
        """Nothing runs before the context is entered.

        Args:
            cache_dir: Where to remember which libraries a jail's root needs, which takes a while to find out; None
                finds out each time.
        """
        self._cache_dir = cache_dir
        self._tier = JailTier()
        self._sessions: set[Session] = set()

    @property
    def tier(self) -> str:
        """How sessions are isolated: "jail"."""
        return self._tier.name

    async def __aenter__(self) -> Self:
        """Start the jail and open one session on trial, so that a refusal shows here and not in the first real one.

        Raises:
            TierUnavailableError: The kernel refuses a step; the error says which and what mends it.
        """
        await self._tier.start(self._cache_dir)
        try:
            trial = await self.open()
            await trial.close()
        except BaseException:
            await self._tier.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for session in list(self._sessions):
            await session.close()
        await self._tier.close()

    async def open(
        self,
        *,
        tools: Sequence[Tool] = (),
        constants: Mapping[str, object] | None = None,
        limits: Limits | None = None,
        seed: int = 0,
        policy: Policy = "restricted",
        images: ImageSource | None = None,
        on_output: Callable[[str], None] | None = None,
    ) -> Session:
        """Open a session.

        Args:
            tools: What its code may call.
            constants: Values by dotted name, beside the tools: {"system.layer": "layer4"}.
            limits: The defaults of `Limits` if None.
            seed: 0 to 2**64 - 1; seeds the guest's `random` and NumPy's legacy generator.
            policy: "restricted" rejects early and readably what would fail later anyway; "off" runs plain Python. The
                isolation is the same.
            images: Resolves the image references that tools return.
            on_output: Called on the event loop with each piece of a block's output as it comes.

        Raises:
            ValueError: Clashing names, a seed out of range, an unknown policy.
            ProtocolError: A constant that cannot travel.
            TierUnavailableError: The kernel refuses what isolation needs.
            SandboxError: The zygote cannot be reached.
        """
        request = _open_request(tools, constants or {}, seed, policy)
        limits = limits or Limits()
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return await self._open(request, Broker(tools, images), limits, on_output)
            except ZygoteDiedError:
                if attempt == _ATTEMPTS:
                    raise
        raise AssertionError("unreachable")

    async def _open(
        self, request: pb.OpenSession, broker: Broker, limits: Limits, on_output: Callable[[str], None] | None
    ) -> Session:
        ours, theirs, output_read, output_write = _make_ends()
        guest: GuestProcess | None = None
        writer: asyncio.StreamWriter | None = None
        try:
            try:
                guest = await self._tier.open(theirs, output_write, limits)
            finally:
                theirs.close()
                os.close(output_write)
            reader, writer = await asyncio.open_unix_connection(sock=ours, limit=_STREAM_LIMIT)
            writer.write(encode(pb.HostFrame(open=request)))
            await asyncio.wait_for(_await_ready(reader), _READY_S)
            guest.freeze()
        except BaseException:
            os.close(output_read)
            if guest is not None:
                self._tier.forget(guest)
            if writer is not None:
                writer.close()
            else:
                ours.close()
            raise

        def closed(session: Session) -> None:
            self._sessions.discard(session)
            self._tier.forget(guest)

        session = Session(
            guest=guest,
            streams=(reader, writer),
            output=output_read,
            broker=broker,
            limits=limits,
            on_output=on_output,
            on_close=closed,
        )
        self._sessions.add(session)
        return session


def _make_ends() -> tuple[socket.socket, socket.socket, int, int]:
    """Our end of a channel and the guest's, the reading end of its output and the writing one; ours do not block.

    Raises:
        SandboxError: Too many files are open.
    """
    try:
        ours, theirs = socket.socketpair()
        try:
            output_read, output_write = os.pipe()
        except OSError:
            ours.close()
            theirs.close()
            raise
    except OSError as error:
        raise SandboxError(f"no room for another session: {error.strerror}; `ulimit -n` raises the limit") from error
    ours.setblocking(False)  # noqa: FBT003  the socket's own signature
    os.set_blocking(output_read, False)
    return ours, theirs, output_read, output_write


def _open_request(tools: Sequence[Tool], constants: Mapping[str, object], seed: int, policy: Policy) -> pb.OpenSession:
    check_names([tool.spec.name for tool in tools] + list(constants))
    if not 0 <= seed < 2**64:
        raise ValueError(f"seed {seed} is out of range; it must be 0 to 2**64 - 1")
    policies = {"restricted": pb.POLICY_RESTRICTED, "off": pb.POLICY_OFF}
    if policy not in policies:
        raise ValueError(f"policy {policy!r}; it must be one of {', '.join(policies)}")
    specs = [
        pb.ToolSpec(name=tool.spec.name, signature=tool.spec.signature, documentation=tool.spec.doc) for tool in tools
    ]
    values = {name: encode_value(value) for name, value in constants.items()}
    return pb.OpenSession(tools=specs, constants=values, seed=seed, policy=policies[policy])


async def _await_ready(reader: asyncio.StreamReader) -> None:
    try:
        frame = await read_frame(reader, pb.GuestFrame)
    except (asyncio.IncompleteReadError, ConnectionError, ProtocolError) as error:
        raise SandboxError("the guest ended before it was ready") from error
    if frame.WhichOneof("kind") == "refused":
        raise unavailable(frame.refused.step, frame.refused.errno)
    if frame.WhichOneof("kind") != "ready":
        raise SessionError("the guest did not begin by saying that it is ready")

"""A sandbox host on another machine, as a host on this one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Final, Self, TypeAlias

import grpc

from maia.execution.v1 import execution_pb2 as pb
from maia.execution.v1 import execution_pb2_grpc
from maia.sandbox.errors import HostGoneError, ProtocolError, SandboxError, SessionsFullError
from maia.sandbox.host.broker import Broker
from maia.sandbox.host.host import Policy, open_request
from maia.sandbox.host.tiers.tier import Feature
from maia.sandbox.host.tools import ImageSource, Tool
from maia.sandbox.limits import Limits
from maia.sandbox.remote.messages import check_remote_limits, features_of, limits_message
from maia.sandbox.remote.session import RemoteSession
from maia.sandbox.remote.statuses import from_wire
from maia.wire.addresses import split_addresses
from maia.wire.channels import check_reachable, open_channel, why_refused
from maia.wire.errors import InvalidRequestError, MaiaError, PreconditionError
from maia.wire.limits import MAX_MESSAGE_BYTES
from maia.wire.tls import ClientCredentials
from maia.wire.versions import Told, check_version

__all__ = ["ClientCredentials", "RemoteHost"]

_ANSWER_S: Final = 10.0
"""How long a host may take to say what it is."""

_OPEN_S: Final = 60.0
"""How long it may take to open a session; a container that is not ready takes a second, a busy machine more."""

_Call: TypeAlias = "grpc.aio.StreamStreamCall[pb.SessionRequest, pb.SessionResponse]"


class RemoteHost:
    """Opens sessions at a sandbox host (`maia serve sandbox`). Used as `Host` is; tools run in this process.

    ::

        async with RemoteHost("127.0.0.1:7416") as host:
            session = await host.open(tools=[Tool.of(search)])
    """

    def __init__(self, address: str, credentials: ClientCredentials | None = None) -> None:
        """Nothing is connected before the context is entered.

        Args:
            address: `host:port` or `unix:/path`; or several hosts, separated by commas, of which each session goes to
                the next that serves and has room.
            credentials: Certificates and token; None for plain text, which stays on this machine.

        Raises:
            ValueError: It is no address, or one on another machine without certificates.
        """
        try:
            check_reachable(address, credentials)
        except InvalidRequestError as error:
            raise ValueError(error.message) from error
        self.address = address
        self._credentials = credentials
        self._channel: grpc.aio.Channel | None = None
        self._about = pb.GetHostResponse()
        self._sessions: set[RemoteSession] = set()

    @property
    def tier(self) -> str:
        """How the host isolates sessions: "jail"."""
        return self._about.tier

    @property
    def features(self) -> tuple[Feature, ...]:
        """What that enforces there, and what it does not."""
        return features_of(self._about.features)

    @property
    def sessions(self) -> int:
        """Sessions that it had open, of all its clients, when it was connected to."""
        return self._about.sessions

    @property
    def session_limit(self) -> int:
        """Most sessions that the host has at once."""
        return self._about.session_limit

    async def __aenter__(self) -> Self:
        """Connect, and ask the host what it is.

        Raises:
            SandboxError: It does not answer, or is of a release that we do not speak to; or a certificate, key or token
                cannot be used.
        """
        try:
            channel = open_channel(self.address, self._credentials)
        except MaiaError as error:
            raise SandboxError(error.message) from error
        try:
            asked = self._stub(channel).GetHost(pb.GetHostRequest(), timeout=_ANSWER_S)
            self._about = await asked
            check_version(Told.of(await asked.trailing_metadata()), server=f"sandbox host at {self.address}")
        except grpc.aio.AioRpcError as error:
            refused = await why_refused(channel, server=f"sandbox host at {self.address}")
            await channel.close()
            if refused is not None and error.code() is grpc.StatusCode.UNAVAILABLE:
                raise SandboxError(refused.message) from error
            raise from_wire(error, self.address) from error
        except PreconditionError as error:
            await channel.close()
            raise SandboxError(error.message) from error
        except BaseException:
            await channel.close()
            raise
        self._channel = channel
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for session in list(self._sessions):
            await session.close()
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()

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
    ) -> RemoteSession:
        """Open a session; see `Host.open` for the arguments.

        Raises:
            ValueError: Clashing names, a seed out of range, an unknown policy, limits too large for a remote session.
            ProtocolError: A constant that cannot travel.
            SessionsFullError: The host has as many sessions as it may.
            TierUnavailableError: Its kernel refuses what isolation needs.
            HostGoneError: It does not answer, or opens no session within a minute.
            SandboxError: It refuses.
        """
        if self._channel is None:
            raise SandboxError("the host is not open; use `async with RemoteHost(...) as host`")
        limits = limits or Limits()
        check_remote_limits(limits)
        request = open_request(tools, constants or {}, seed, policy)
        request.limits.CopyFrom(limits_message(limits))
        if request.ByteSize() > MAX_MESSAGE_BYTES - 1024:
            raise ProtocolError(
                f"tools and constants of {request.ByteSize():,} bytes; at most {MAX_MESSAGE_BYTES:,} fit"
            )
        call, opened = await self._begun(self._channel, request)
        session = RemoteSession(
            call=call,
            opened=opened,
            broker=Broker(tools, images, limits),
            on_output=on_output,
            on_close=self._sessions.discard,
            address=self.address,
        )
        self._sessions.add(session)
        return session

    async def _begun(self, channel: grpc.aio.Channel, request: pb.OpenSession) -> tuple[_Call, pb.SessionOpened]:
        """Open the session at the next host; where that one is full or out of reach, at another."""
        hosts = len(split_addresses(self.address))
        for others in reversed(range(hosts)):
            call = self._stub(channel).Session()
            try:
                return call, await self._opened(call, request)
            except (SessionsFullError, HostGoneError):
                call.cancel()
                if not others:
                    raise
            except BaseException:
                call.cancel()
                raise
        raise AssertionError("the last host opens the session or raises")

    async def _opened(self, call: _Call, request: pb.OpenSession) -> pb.SessionOpened:
        try:
            async with asyncio.timeout(_OPEN_S):
                with contextlib.suppress(asyncio.InvalidStateError):  # it was refused already; the answer says why
                    await call.write(pb.SessionRequest(open=request))
                response = await call.read()
        except grpc.aio.AioRpcError as error:
            raise from_wire(error, self.address) from error
        except TimeoutError:
            raise HostGoneError(f"the sandbox host at {self.address} opened no session within {_OPEN_S:g} s") from None
        if not isinstance(response, pb.SessionResponse) or response.WhichOneof("kind") != "opened":
            raise SandboxError(f"the sandbox host at {self.address} did not begin by saying that the session is open")
        return response.opened

    @staticmethod
    def _stub(channel: grpc.aio.Channel) -> execution_pb2_grpc.ExecutionServiceAsyncStub:
        return execution_pb2_grpc.ExecutionServiceStub(channel)

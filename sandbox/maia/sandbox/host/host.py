"""A host: one tier of isolation, many sessions."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Literal, Self

from maia.execution.v1 import execution_pb2 as pb
from maia.sandbox.errors import HostGoneError, ProtocolError, SandboxError, SessionError
from maia.sandbox.host.broker import Broker
from maia.sandbox.host.channel import ChannelEndedError
from maia.sandbox.host.guest import Guest
from maia.sandbox.host.in_force import describe_in_force
from maia.sandbox.host.session import Session
from maia.sandbox.host.tiers.choice import check_tier, start_tier
from maia.sandbox.limits import Limits
from maia.sandbox.protocol.toolspec import check_names
from maia.sandbox.protocol.values import encode_value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from maia.sandbox.host.answers import Answers
    from maia.sandbox.host.tiers.choice import TierName
    from maia.sandbox.host.tiers.tier import Feature, Tier
    from maia.sandbox.host.tools import ImageSource, Tool

__all__ = ["Host", "Policy", "open_request"]

Policy = Literal["restricted", "off"]

_READY_S: Final = 20.0


class Host:
    """Opens sessions on this machine. An async context manager; sessions end with it at the latest.

    ::

        async with Host(cache_dir=user_cache_dir(os.environ)) as host:
            session = await host.open(tools=[Tool.of(search)])
            outcome = await session.run("print(search('lamp'))")
    """

    def __init__(
        self,
        *,
        tier: TierName = "auto",
        cache_dir: Path | None = None,
        allow_unisolated: bool = False,
        pool_size: int = 2,
    ) -> None:
        """Nothing runs before the context is entered.

        Args:
            tier: How sessions are isolated; "auto" takes the first that works here of jail, gvisor, docker, landlock.
            cache_dir: Where to remember which libraries a session needs, which takes a while to find out; None finds
                out each time.
            allow_unisolated: Needed for the tier "none", which isolates nothing.
            pool_size: Containers that are kept ready for each set of limits.

        Raises:
            ValueError: An unknown tier.
        """
        check_tier(tier)
        self._wanted = tier
        self._cache_dir = cache_dir
        self._allow_unisolated = allow_unisolated
        self._pool_size = pool_size
        self._tier: Tier | None = None
        self._features: tuple[Feature, ...] = ()
        self._sessions: set[Session] = set()

    @property
    def tier(self) -> str:
        """How sessions are isolated: "jail"."""
        return self._started().name

    @property
    def features(self) -> tuple[Feature, ...]:
        """What that enforces on this machine, and what it does not."""
        return self._features

    async def __aenter__(self) -> Self:
        """Start the tier and open one session on trial, so that a refusal shows here and not in the first real one.

        Raises:
            TierUnavailableError: The machine refuses a step; the error says which and what mends it, for "auto" of each
                tier.
        """
        self._tier, self._features = await start_tier(
            self._wanted,
            self._try,
            cache_dir=self._cache_dir,
            allow_unisolated=self._allow_unisolated,
            pool_size=self._pool_size,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for session in list(self._sessions):
            await session.close()
        await self._started().close()

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
            HostGoneError: What holds the sessions was ended from outside and does not start again.
            SandboxError: The session could not be made.
        """
        request = open_request(tools, constants or {}, seed, policy)
        limits = limits or Limits()
        return await self.open_with(request, Broker(tools, images, limits), limits, on_output)

    async def open_with(
        self, request: pb.OpenSession, answers: Answers, limits: Limits, on_output: Callable[[str], None] | None
    ) -> Session:
        """Open a session whose tools are elsewhere.

        Args:
            request: Tools and constants as the guest is told of them, seed and policy, all checked.
            answers: Answers its tool calls.
            limits: What it may use.
            on_output: Called on the event loop with each piece of a block's output as it comes.

        Raises:
            SandboxError: As `open`.
        """

        async def guest() -> Guest:
            try:
                return await self._guest(self._started(), request, limits)
            except HostGoneError:  # found out just now: the tier starts anew
                return await self._guest(self._started(), request, limits)

        session = Session(
            guest=await guest(),
            answers=answers,
            limits=limits,
            on_output=on_output,
            on_close=self._sessions.discard,
            renew=guest,
        )
        self._sessions.add(session)
        return session

    async def _guest(self, tier: Tier, request: pb.OpenSession, limits: Limits) -> Guest:
        """A guest that has its tools and is halted."""
        guest = await Guest.open(await tier.open(limits), tier.name)
        try:
            async with asyncio.timeout(_READY_S):
                await guest.start(limits, pb.HostFrame(open=request))
                frame = await guest.channel.receive()
                if frame.WhichOneof("kind") != "ready":
                    raise SessionError("the guest did not begin by saying that it is ready")
                await guest.halt()
        except (ChannelEndedError, ProtocolError, TimeoutError, SessionError) as error:
            guest.close()
            if await guest.has_gone_with_all():
                raise HostGoneError("what holds the sessions ended while it opened one") from error
            if isinstance(error, SessionError):
                raise
            raise SandboxError("the guest ended before it was ready") from error
        except BaseException:
            guest.close()
            raise
        return guest

    async def _try(self, tier: Tier) -> tuple[Feature, ...]:
        """Open a session on trial. Returns what it found in force."""
        guest = await self._guest(tier, open_request((), {}, 0, "restricted"), Limits())
        guest.close()
        return (*tier.features, *describe_in_force(guest.in_force))

    def _started(self) -> Tier:
        if self._tier is None:
            raise SandboxError("the host is not open; use `async with Host(...) as host`")
        return self._tier


def open_request(tools: Sequence[Tool], constants: Mapping[str, object], seed: int, policy: Policy) -> pb.OpenSession:
    """Check what a session is opened with, and word it for the guest.

    Raises:
        ValueError: See `Host.open`.
        ProtocolError: A constant that cannot travel.
    """
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

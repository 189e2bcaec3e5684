"""Which release of maia a server is, what its clock says, and whether a client of another release may speak to it.

A server tells it at the end of every call of one answer; at the beginning it would keep gRPC from trying a call again.
Which contracts a server speaks, `maia.subject.v1`, its health says: of the service of another it knows nothing.
"""

from __future__ import annotations

import importlib.metadata
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import grpc

from maia.wire.errors import PreconditionError

_VERSION: Final = "maia-version"
_TIME: Final = "maia-time-ms"
_SERVICES: Final = "maia-services"


def own_version() -> str:
    """Return the release of this process."""
    return importlib.metadata.version("maia")


@dataclass(frozen=True, slots=True)
class Told:
    """What a server told of itself.

    Attributes:
        version: Its release; "" if it does not say, as a server of someone else's.
        time_s: Its clock when it was asked, in seconds since 1970; None if it does not say.
        services: Full names of what it hosts.
    """

    version: str = ""
    time_s: float | None = None
    services: tuple[str, ...] = ()

    @classmethod
    def of(cls, metadata: Iterable[tuple[str, str | bytes]] | None) -> Told:
        """Read the metadata at the end of a call."""
        sent = {key: value for key, value in metadata or () if isinstance(value, str)}
        milliseconds = sent.get(_TIME, "")
        return cls(
            version=sent.get(_VERSION, "")[:64],
            time_s=int(milliseconds) / 1e3 if re.fullmatch(r"[0-9]{1,15}", milliseconds) else None,
            services=tuple(name for name in sent.get(_SERVICES, "").split(",") if name),
        )


def compatible(one: str, other: str) -> bool:
    """Whether two releases speak to each other: of the same major number, and before 1.0 of the same minor number."""
    first, second = _numbers(one), _numbers(other)
    return first[0] == second[0] and (first[0] > 0 or first[1] == second[1])


def check_version(told: Told, *, server: str, own: str | None = None) -> None:
    """Refuse a server of a release that this one does not speak to.

    Args:
        told: By the server; one that tells no release is taken.
        server: As messages name it.
        own: Instead of the release of this process.

    Raises:
        PreconditionError: VERSION_MISMATCH; the message says which to upgrade.
    """
    own = own or own_version()
    if not told.version or compatible(told.version, own):
        return
    newer, older = (own, "the server") if _numbers(told.version) < _numbers(own) else (told.version, "this side")
    raise PreconditionError(
        f"the {server} is maia {told.version} and this is maia {own}, which do not speak to each other; "
        f"upgrade {older} to {newer}",
        reason="VERSION_MISMATCH",
        metadata={"server": server, "theirs": told.version, "ours": own},
    )


class VersionInterceptor(grpc.aio.ServerInterceptor):
    """Has every call of one answer end with what `Told` reads.

    Args:
        services: Full names of what the server hosts.
        version: Its release.
    """

    def __init__(self, services: Sequence[str], version: str) -> None:
        self._fixed = ((_VERSION, version), (_SERVICES, ",".join(services)))

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:  # noqa: ANN401  # gRPC's handlers have no public type
        """Wrap the handler of one call."""
        handler = await continuation(handler_call_details)
        kind = next((kind for kind in ("unary_unary", "stream_unary") if getattr(handler, kind, None)), None)
        if kind is None:
            return handler
        behaviour = getattr(handler, kind)

        async def telling(request: object, context: grpc.aio.ServicerContext[Any, Any]) -> object:
            context.set_trailing_metadata((*self._fixed, (_TIME, str(round(time.time() * 1e3)))))
            return await behaviour(request, context)

        return handler._replace(**{kind: telling})


def _numbers(version: str) -> tuple[int, int, int]:
    """The first three numbers; a release that has none counts as 0.0.0."""
    found = re.match(r"(\d{1,9})(?:\.(\d{1,9}))?(?:\.(\d{1,9}))?", version)
    major, minor, patch = (int(part or 0) for part in found.groups()) if found else (0, 0, 0)
    return major, minor, patch

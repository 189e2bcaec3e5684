"""One call to one server: deadline, ids, errors; and pictures as they cross the wire."""

from __future__ import annotations

import math
from collections.abc import Sequence, Sized
from dataclasses import dataclass
from typing import TypeVar

import grpc

from maia.orchestrator.conversation import Picture
from maia.type.v1 import type_pb2
from maia.wire import tracing
from maia.wire.deadline import Deadline
from maia.wire.errors import InternalError, InvalidRequestError, UnavailableError
from maia.wire.pictures import read_header
from maia.wire.status import translated

_Request = TypeVar("_Request")
_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Terms:
    """What goes with a call.

    Attributes:
        deadline: When the answer is of no use any more.
        metadata: From `maia.wire.calls.call_metadata`: the ids that join the logs of all parts.
    """

    deadline: Deadline
    metadata: tuple[tuple[str, str], ...] = ()

    @classmethod
    def within(cls, seconds: float) -> Terms:
        """Return terms with a deadline that many seconds from now."""
        return cls(Deadline.after(seconds))


@dataclass(frozen=True, slots=True)
class Connection:
    """A channel, and what to call its far end.

    Attributes:
        name: As `maia serve` takes it: "subject".
        address: Where the server is expected.
        channel: To it.
    """

    name: str
    address: str
    channel: grpc.aio.Channel

    @property
    def server(self) -> str:
        """The server as messages name it."""
        return f"{self.name} server at {self.address}"

    async def ask(
        self, method: grpc.aio.UnaryUnaryMultiCallable[_Request, _Answer], request: _Request, terms: Terms
    ) -> _Answer:
        """Make one call.

        Raises:
            UnavailableError: Nobody answers at the address; the message says how to start the server.
            DeadlineExceededError: The deadline passed before the answer, or had passed already.
            MaiaError: Whatever the server answered instead.
        """
        terms.deadline.check(f"asking the {self.server}")
        remaining = terms.deadline.remaining()
        try:
            name = type(request).__name__.removesuffix("Request")
            about = {"rpc.system.name": "grpc", "server.address": self.address}
            with tracing.span(name, about, kind="client"), translated(server=self.server):
                return await method(
                    request,
                    timeout=None if math.isinf(remaining) else remaining,
                    metadata=(*terms.metadata, *tracing.outgoing()),
                )
        except UnavailableError as error:
            raise self.unavailable(error) from error

    def unavailable(self, error: UnavailableError) -> UnavailableError:
        """Return the error with what to do about it."""
        return UnavailableError(
            f"{error.message}; start it with `maia serve {self.name}`, or all servers with `maia up`",
            reason=error.reason,
            metadata={**error.metadata, "server": self.name, "address": self.address},
        )

    def received(self, message: type_pb2.Picture) -> Picture:
        """Return a picture that the server sent.

        Raises:
            InternalError: It is none.
        """
        try:
            header = read_header(message.data)
        except InvalidRequestError as error:
            raise InternalError(f"the {self.server} answered with a broken picture: {error.message}") from error
        return Picture(message.data, header.media_type, header.width, header.height)

    def expect(self, items: Sized, count: int) -> None:
        """Refuse an answer of another length than the request's.

        Raises:
            InternalError: The lengths differ.
        """
        if len(items) != count:
            raise InternalError(f"the {self.server} answered {len(items)} items where {count} were asked for")


def sent(picture: Picture) -> type_pb2.Picture:
    """Return the message of a picture."""
    return type_pb2.Picture(data=picture.data, media_type=picture.media_type)


def all_sent(pictures: Sequence[Picture]) -> list[type_pb2.Picture]:
    """Return the messages of pictures."""
    return [sent(picture) for picture in pictures]

"""What operators watch of every server, in Prometheus' format, at a port of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Histogram

from maia.wire.addresses import Address
from maia.wire.errors import InvalidRequestError, PreconditionError

REQUEST_S: Final = 10.0
"""How long whoever connects may take to ask."""

SECONDS: Final = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)


class CallMetrics:
    """Calls of one server, by method.

    Attributes:
        calls: Those that have ended, by their code, too.
        seconds: From a call's beginning to its answer; of a session's stream, its life.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        """All are zero.

        Args:
            registry: Where they are registered.
        """
        self.calls = Counter("maia_calls", "Calls that have ended.", ("method", "code"), registry=registry)
        self.seconds = Histogram(
            "maia_call_seconds", "Of a call, to its answer.", ("method",), buckets=SECONDS, registry=registry
        )


@contextmanager
def exported(registry: CollectorRegistry, listen: str, *, open_to_all: bool = False) -> Iterator[None]:
    """Answer Prometheus at an address until the block ends.

    Args:
        registry: What is told.
        listen: `HOST:PORT`; "" for nowhere.
        open_to_all: The address may be one that other machines reach. Metrics name models, methods and counts; nothing
            encrypts them, and nobody is asked who he is.

    Raises:
        InvalidRequestError: ADDRESS_INVALID, or ADDRESS_NOT_LOCAL.
        PreconditionError: ADDRESS_IN_USE.
    """
    if not listen:
        yield
        return
    address = Address.parse(listen)
    if not open_to_all:
        address.require_local("to let a Prometheus on another machine read them, in plain text, add --metrics-open")
    if address.socket is not None:
        raise InvalidRequestError(
            f"metrics cannot be served at {listen}; give HOST:PORT",
            reason="ADDRESS_INVALID",
            metadata={"address": listen},
        )
    from prometheus_client import start_http_server

    try:
        server, thread = start_http_server(address.port, address.host, registry)
    except OSError as error:
        raise PreconditionError(
            f"metrics cannot be served at {listen}: {error.strerror}",
            reason="ADDRESS_IN_USE",
            metadata={"address": listen},
        ) from error
    # Each connection has a thread, which would otherwise wait for ever for whoever connects and asks nothing.
    server.RequestHandlerClass = _impatient(server.RequestHandlerClass)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _impatient(handler: Any) -> Any:  # noqa: ANN401  # prometheus_client's own is not public
    class Impatient(handler):  # type: ignore[misc]  # mypy knows no base that is a variable
        timeout = REQUEST_S

        def handle(self) -> None:
            with suppress(TimeoutError, ConnectionError):  # of whose end nobody wants a traceback
                super().handle()

    return Impatient

"""What happens around every call of every server: ids, a log line, and errors as statuses."""

from __future__ import annotations

import asyncio
import inspect
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from typing import Any, Final, TypeAlias

import grpc
import structlog

from maia.wire import tracing
from maia.wire.errors import InternalError, MaiaError
from maia.wire.metrics import CallMetrics
from maia.wire.status import to_status

# A handler of any of the four kinds takes (request or iterator, context); their wrapping is the same.
_Behaviour = Callable[[Any, Any], Any]
_Handler = Any
_Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

CALL_IDS: Final = ("run", "session", "call")
"""Ids that a caller may send, as metadata "maia-run" and so on; they join the logs of all parts."""

_QUIET: Final = ("/grpc.health.", "/grpc.reflection.")
_NOT_THERE: Final = "Method not implemented!"  # generated code, for what a servicer lacks, as gRPC's own Health.List
_MAX_ID_CHARS: Final = 64

log = structlog.stdlib.get_logger("maia.calls")


def call_metadata(**ids: str) -> tuple[tuple[str, str], ...]:
    """Return the metadata that names a call: `call_metadata(run=..., session=..., call=...)`.

    Raises:
        ValueError: An id that is not in `CALL_IDS`, or is not printable ASCII.
    """
    for name, value in ids.items():
        if name not in CALL_IDS or not (value.isascii() and value.isprintable()):
            raise ValueError(f"no call id: {name}={value!r}")
    return tuple((f"maia-{name}", value) for name, value in ids.items())


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Logs each call once, with its ids, code and milliseconds, and turns what it raises into a status.

    A `MaiaError` keeps its reason. Anything else becomes INTERNAL with an incident id and without a word of its text,
    which may hold anything; the stack is in the log under that id.

    Args:
        metrics: Are told of every call.
    """

    def __init__(self, metrics: CallMetrics | None = None) -> None:
        self._metrics = metrics

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[_Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> _Handler | None:
        """Wrap the handler of one call."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        details = _Details(handler_call_details.method, handler_call_details.invocation_metadata or (), self._metrics)
        kind = kind_of(handler)
        return handler._replace(**{kind: _wrapped(getattr(handler, kind), details, kind)})


def kind_of(handler: _Handler) -> str:
    """Return which of its four fields holds what a handler does: "unary_stream"."""
    kinds = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
    return next(kind for kind in kinds if getattr(handler, kind) is not None)


class _Details:
    """A call's method and the ids that came with it."""

    def __init__(
        self, method: str, metadata: Iterable[tuple[str, str | bytes]], metrics: CallMetrics | None = None
    ) -> None:
        self.method = method
        self._metrics = metrics
        sent: Mapping[str, object] = dict(metadata)
        found = {name: sent.get(f"maia-{name}") for name in CALL_IDS}
        self.ids = {name: value[:_MAX_ID_CHARS] for name, value in found.items() if isinstance(value, str)}
        self.trace = tracing.incoming(sent.items())  # type: ignore[arg-type]  # values are text or bytes

    def span(self) -> AbstractContextManager[tracing.Span]:
        """Show the call in its caller's trace, if it came with one."""
        if self.trace is None:
            return nullcontext(tracing.Span())
        whole = self.method.removeprefix("/")
        about = {"rpc.system.name": "grpc", "rpc.method": whole}
        about |= {f"maia.{name}": value for name, value in self.ids.items()}
        return tracing.span(whole.rpartition("/")[2], about, parent=self.trace, kind="server")

    def log(self, code: str, started: float, **more: str) -> None:
        write = log.debug if self.method.startswith(_QUIET) else log.info
        seconds = time.perf_counter() - started
        milliseconds = round(seconds * 1e3, 1)
        if self._metrics is not None and not self.method.startswith(_QUIET):
            method = self.method.rpartition("/")[2]
            self._metrics.calls.labels(method, code).inc()
            self._metrics.seconds.labels(method).observe(seconds)
        write("call", method=self.method, code=code, ms=milliseconds, **self.ids, **more)


def _wrapped(behaviour: _Behaviour, details: _Details, kind: str) -> _Behaviour:
    @asynccontextmanager
    async def answered(context: _Context) -> AsyncIterator[None]:
        # A session's stream is as long as a run, and its blocks are in the client's trace.
        traced = kind.endswith("_unary") and not details.method.startswith(_QUIET)
        async with _answered(details, context):
            with details.span() if traced else nullcontext():
                yield

    # gRPC asks a handler whether it is an async generator, so the wrapper must be of the same kind.
    if inspect.isasyncgenfunction(behaviour):

        async def stream(request: object, context: _Context) -> AsyncIterator[object]:
            async with answered(context):
                async for message in behaviour(request, context):
                    yield message

        return stream

    async def single(request: object, context: _Context) -> object:
        async with answered(context):
            return await behaviour(request, context)

    return single


@asynccontextmanager
async def _answered(details: _Details, context: _Context) -> AsyncIterator[None]:
    started = time.perf_counter()
    try:
        yield
    except grpc.aio.AbortError:  # the handler has set a status itself, as gRPC's health service does
        details.log(context.code().name, started)
        raise
    except MaiaError as error:
        status = to_status(error)
        details.log(status.code.name, started, reason=error.reason)
        await context.abort_with_status(status)
    except (asyncio.CancelledError, GeneratorExit):
        remaining = context.time_remaining()
        details.log("DEADLINE_EXCEEDED" if remaining is not None and remaining <= 0 else "CANCELLED", started)
        raise
    except Exception as error:
        if isinstance(error, NotImplementedError) and str(error) == _NOT_THERE:
            details.log("UNIMPLEMENTED", started)
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, f"this server does not answer {details.method}")
        incident = secrets.token_hex(6)
        log.exception("unplanned error", method=details.method, incident=incident, **details.ids)
        details.log("INTERNAL", started, incident=incident)
        await context.abort_with_status(to_status(incident_error(incident)))
    else:
        details.log("OK", started)


def incident_error(incident: str) -> InternalError:
    """Return what a caller learns of an unplanned error."""
    return InternalError(
        f"a fault in the server; its log has the details under incident {incident}", metadata={"incident": incident}
    )

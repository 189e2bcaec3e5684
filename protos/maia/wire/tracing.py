"""Traces in OpenTelemetry's terms: one for each round of an agent, through the gateway and into the servers.

Outside `exporting` nothing of OpenTelemetry is imported, and a span is a test of one variable. Spans carry names, ids,
counts and codes; never prompts, code, pictures or the texts of errors, which may hold any of them.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cache, partial
from types import MappingProxyType, SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, Literal, get_args
from urllib.parse import urlsplit

import structlog

from maia.wire.errors import InvalidRequestError, MaiaError, PreconditionError

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span as OtelSpan

Kind = Literal["internal", "client", "server"]
Value = str | int | float | bool

log = structlog.stdlib.get_logger("maia.tracing")

_NOTHING: Final[Mapping[str, Value]] = MappingProxyType({})
_PATH: Final = "/v1/traces"
_EXPORT_S: Final = 5.0
_FLUSH_MS: Final = 3_000


@dataclass(frozen=True, slots=True)
class Span:
    """What is being done. Without tracing it takes notes and keeps none."""

    _span: OtelSpan | None = None

    def note(self, attributes: Mapping[str, Value]) -> None:
        """Add attributes."""
        if self._span is not None:
            self._span.set_attributes(attributes)


_NOWHERE: Final = nullcontext(Span())


class _Exporting:
    """The tracer of this process while it exports; None otherwise."""

    tracer: Any = None


@contextmanager
def exporting(endpoint: str, service: str, *, exporter: SpanExporter | None = None) -> Iterator[None]:
    """Send the spans of this process to a collector until the block ends; what fails there disturbs nothing here.

    Args:
        endpoint: OTLP over HTTP, "http://127.0.0.1:4318"; "" for no tracing at all.
        service: Name of this process among others: "maia.subject".
        exporter: Takes the place of the one that sends to `endpoint`.

    Raises:
        InvalidRequestError: SETTING_INVALID: no URL.
        PreconditionError: EXTRA_MISSING: the extra `telemetry` is not installed.
    """
    if not endpoint and exporter is None:
        yield
        return
    try:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        exporter = exporter or _otlp(endpoint)
    except ImportError as error:
        raise PreconditionError(
            f"traces need the extra `telemetry`: pip install 'maia[telemetry]' ({error})", reason="EXTRA_MISSING"
        ) from error
    provider = TracerProvider(resource=Resource.create({"service.name": service}), shutdown_on_exit=False)
    processor = BatchSpanProcessor(_Reporting.of(exporter, endpoint))
    provider.add_span_processor(processor)
    _Exporting.tracer = provider.get_tracer("maia")
    try:
        yield
    finally:
        _Exporting.tracer = None
        processor.force_flush(_FLUSH_MS)
        provider.shutdown()


def span(
    name: str,
    attributes: Mapping[str, Value] = _NOTHING,
    *,
    parent: Context | None = None,
    root: bool = False,
    kind: Kind = "internal",
) -> AbstractContextManager[Span]:
    """Say that something is being done until the block ends.

    Args:
        name: What, of few different values: "round", "MeasureUnits".
        attributes: By name, "maia.call"; more may be noted later.
        parent: Of `current`, where it is another task's; None for the span around this one.
        root: It begins a trace of its own.
        kind: Which side of a call between processes it is.
    """
    if _Exporting.tracer is None:
        return _NOWHERE
    where = _otel().context.Context() if root else parent
    return _Running(partial(_Exporting.tracer.start_span, name, where, _otel().kinds[kind], attributes))


class _Running:
    """A span around a block. No generator, as OpenTelemetry's own is: every request pays for it several times."""

    __slots__ = ("_begin", "_begun", "_here")

    def __init__(self, begin: Callable[[], OtelSpan]) -> None:
        self._begin = begin

    def __enter__(self) -> Span:
        otel = _otel()
        self._begun = self._begin()
        self._here = otel.context.attach(otel.trace.set_span_in_context(self._begun))
        return Span(self._begun)

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        otel = _otel()
        if error is not None:
            self._begun.set_attribute("error.type", _kind_of(error))
            if isinstance(error, Exception):  # an interruption is no error
                self._begun.set_status(otel.trace.StatusCode.ERROR)
        otel.context.detach(self._here)
        self._begun.end()


@cache
def _otel() -> Any:  # noqa: ANN401  modules
    """Return what is used of OpenTelemetry; kept, since an import in a function costs a microsecond each time."""
    from opentelemetry import context, trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    kinds = {kind: trace.SpanKind[kind.upper()] for kind in get_args(Kind)}
    return SimpleNamespace(context=context, trace=trace, kinds=kinds, w3c=TraceContextTextMapPropagator())


def current() -> Context | None:
    """Return where this task is in its trace, for `parent` in another task or thread."""
    if _Exporting.tracer is None:
        return None
    here: Context = _otel().context.get_current()
    return here


def past(
    name: str, parent: Context | None, begun: float, ended: float, attributes: Mapping[str, Value] = _NOTHING
) -> None:
    """Add what has been done already, for somebody whose task waited for it.

    Args:
        name: What.
        parent: Of `current`, when it was asked for.
        begun: By `time.monotonic`.
        ended: The same.
        attributes: As of `span`.
    """
    if _Exporting.tracer is None or parent is None:
        return
    offset = time.time() - time.monotonic()
    begun_ns, ended_ns = (int((moment + offset) * 1e9) for moment in (begun, ended))
    _Exporting.tracer.start_span(name, context=parent, start_time=begun_ns, attributes=attributes).end(ended_ns)


def outgoing() -> tuple[tuple[str, str], ...]:
    """Return the metadata (W3C `traceparent`) that carries this task's place in its trace to a server."""
    if _Exporting.tracer is None:
        return ()
    carrier: dict[str, str] = {}
    _otel().w3c.inject(carrier)
    return tuple(carrier.items())


def incoming(metadata: Iterable[tuple[str, str | bytes]]) -> Context | None:
    """Return the place in a caller's trace that came with a call; None if there is none."""
    if _Exporting.tracer is None:
        return None
    carrier = {key: value for key, value in metadata if key == "traceparent" and isinstance(value, str)}
    return _otel().w3c.extract(carrier) if carrier else None


def with_trace(_logger: object, _method: str, record: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add the trace's id to a log record; for structlog."""
    if _Exporting.tracer is not None:
        trace = _otel().trace
        here = trace.get_current_span().get_span_context()
        if here.is_valid:
            record["trace"] = trace.format_trace_id(here.trace_id)
    return record


def _kind_of(error: BaseException) -> str:
    return error.reason if isinstance(error, MaiaError) else type(error).__name__


def _otlp(endpoint: str) -> SpanExporter:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidRequestError(
            f"{endpoint!r} is no address of a collector; give http://HOST:4318", reason="SETTING_INVALID"
        )
    whole = endpoint if parts.path.strip("/") else f"{endpoint.rstrip('/')}{_PATH}"
    return OTLPSpanExporter(endpoint=whole, timeout=_EXPORT_S)


@dataclass(slots=True)
class _Reporting:
    """An exporter whose failures are one line in our log, and one when it works again."""

    exporter: SpanExporter
    endpoint: str
    failing: bool = field(default=False)

    @classmethod
    def of(cls, exporter: SpanExporter, endpoint: str) -> Any:  # noqa: ANN401  an exporter by its methods
        # Its exporter would write a traceback for every batch that nobody takes.
        import logging

        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        return cls(exporter, endpoint)

    def export(self, spans: Any) -> Any:  # noqa: ANN401  OpenTelemetry's own types
        from opentelemetry.sdk.trace.export import SpanExportResult

        result = SpanExportResult.FAILURE
        with contextlib.suppress(Exception):
            result = self.exporter.export(spans)
        failed = result is not SpanExportResult.SUCCESS
        if failed and not self.failing:
            log.warning("traces do not arrive; the work goes on without them", endpoint=self.endpoint)
        elif self.failing and not failed:
            log.info("traces arrive again", endpoint=self.endpoint)
        self.failing = failed
        return result

    def shutdown(self) -> None:
        self.exporter.shutdown()

    def force_flush(self, timeout_millis: int = _FLUSH_MS) -> bool:
        return self.exporter.force_flush(timeout_millis)

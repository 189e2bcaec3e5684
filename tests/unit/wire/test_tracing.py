"""Spans: who is whose child, what they carry, and that tracing disturbs nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from maia.wire import tracing
from maia.wire.errors import InvalidRequestError, NotFoundError


class Traced:
    """What was exported, once `end` has been called."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self._held = tracing.exporting("", "test", exporter=self.exporter)
        self._held.__enter__()
        self._ended = False

    def end(self) -> dict[str, ReadableSpan]:
        if not self._ended:
            self._ended = True
            self._held.__exit__(None, None, None)
        return {span.name: span for span in self.exporter.get_finished_spans()}


@pytest.fixture
def traced() -> Iterator[Traced]:
    held = Traced()
    yield held
    held.end()


def parent_of(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent else None


def test_without_an_endpoint_nothing_is_traced() -> None:
    with tracing.exporting("", "test"), tracing.span("round") as span:
        span.note({"maia.round": 1})
        assert tracing.outgoing() == ()
        assert tracing.current() is None
        assert tracing.with_trace(None, "", {"event": "x"}) == {"event": "x"}


async def test_a_span_of_another_task_finds_its_parent(traced: Traced) -> None:
    with tracing.span("round", root=True) as around:
        here = tracing.current()
        assert around is not None

    async def elsewhere() -> None:
        with tracing.span("tool", {"maia.call": 3}, parent=here):
            pass

    await asyncio.create_task(elsewhere())
    spans = traced.end()
    assert parent_of(spans["tool"]) == spans["round"].context.span_id
    assert dict(spans["tool"].attributes or {}) == {"maia.call": 3}


def test_each_root_is_a_trace_of_its_own(traced: Traced) -> None:
    with tracing.span("outer"), tracing.span("round", root=True):
        pass
    spans = traced.end()
    assert parent_of(spans["round"]) is None
    assert spans["round"].context.trace_id != spans["outer"].context.trace_id


def test_an_error_leaves_its_kind_and_not_a_word_of_its_text(traced: Traced) -> None:
    with pytest.raises(NotFoundError), tracing.span("call"):
        raise NotFoundError("the secret prompt", reason="SUBJECT_UNKNOWN")
    span = traced.end()["call"]
    assert span.attributes == {"error.type": "SUBJECT_UNKNOWN"}
    assert "secret" not in span.to_json()
    assert span.status.status_code.name == "ERROR"


def test_metadata_carries_the_place_in_the_trace(traced: Traced) -> None:
    with tracing.span("client"):
        sent = tracing.outgoing()
    assert [key for key, _ in sent] == ["traceparent"]
    with tracing.span("server", parent=tracing.incoming([("x-other", b"1"), *sent])):
        pass
    spans = traced.end()
    assert parent_of(spans["server"]) == spans["client"].context.span_id


@pytest.mark.parametrize("value", ["", "00-zz", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "\x00", "a" * 10_000])
def test_a_hostile_place_in_a_trace_is_none(traced: Traced, value: str) -> None:
    with tracing.span("server", parent=tracing.incoming([("traceparent", value)])):
        pass
    assert parent_of(traced.end()["server"]) is None


def test_what_is_past_keeps_its_times(traced: Traced) -> None:
    with tracing.span("call"):
        tracing.past("wait", tracing.current(), 10.0, 12.5, {"maia.batch": 4})
    span = traced.end()["wait"]
    assert span.end_time is not None
    assert span.start_time is not None
    assert (span.end_time - span.start_time) / 1e9 == pytest.approx(2.5)


def test_logs_name_the_trace(traced: Traced) -> None:
    with tracing.span("call"):
        record = tracing.with_trace(None, "", {"event": "x"})
    span = traced.end()["call"]
    assert record["trace"] == f"{span.context.trace_id:032x}"


class Failing(SpanExporter):
    """A collector that is down, or raises."""

    def __init__(self) -> None:
        self.up = False

    def export(self, spans: Any) -> SpanExportResult:
        if not self.up:
            raise ConnectionError("nobody there")
        return SpanExportResult.SUCCESS


def test_a_collector_that_is_down_is_told_once() -> None:
    failing = Failing()
    reporting = tracing._Reporting.of(failing, "http://nowhere")
    with structlog.testing.capture_logs() as logs:
        assert reporting.export([]) is SpanExportResult.FAILURE
        reporting.export([])
        failing.up = True
        assert reporting.export([]) is SpanExportResult.SUCCESS
    assert [log["log_level"] for log in logs] == ["warning", "info"]


@pytest.mark.parametrize("endpoint", ["localhost:4318", "ftp://x", "http://"])
def test_an_endpoint_that_is_no_url_is_refused(endpoint: str) -> None:
    with pytest.raises(InvalidRequestError, match="http://HOST:4318"), tracing.exporting(endpoint, "test"):
        pass

"""The trace of a round, from the agent into the servers; and a run that goes on is not traced twice."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from maia.orchestrator import Addresses, SandboxSettings, investigate
from maia.orchestrator.agents.settings import BackboneKeys
from maia.orchestrator.journal import FILE_NAME, JournalReader
from maia.wire import tracing

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def traced(addresses: Addresses, out: Path, cache: Path, *, rounds: int) -> tuple[ReadableSpan, ...]:
    """Let the scripted agent make some rounds, and return the spans of all parts: they share this process."""
    exporter = InMemorySpanExporter()
    with tracing.exporting("", "test", exporter=exporter):
        await investigate(
            "scene-neurons",
            {"mono": [23]},
            out=out,
            addresses=addresses,
            keys=BackboneKeys(),
            sandbox=SandboxSettings(cache),
            max_rounds=rounds,
        )
    return exporter.get_finished_spans()


async def test_a_round_is_one_trace_through_gateway_and_servers(addresses: Addresses, tmp_path: Path) -> None:
    spans = await traced(addresses, tmp_path / "out", tmp_path / "cache", rounds=2)
    by_id = {span.context.span_id: span for span in spans if span.context}

    def path(span: ReadableSpan) -> tuple[str, ...]:
        above = path(by_id[span.parent.span_id]) if span.parent else ()
        return (*above, span.name)

    paths = Counter(path(span) for span in spans)
    assert paths[("round",)] == paths[("round", "chat")] >= 2
    drawn = ("round", "block", "tools.text2image", "GenerateImages", "GenerateImages")
    for end in ((), ("batch",)):
        assert paths[drawn + end] >= 1
    roots = [span for span in spans if span.parent is None and span.name == "round"]
    assert len({span.context.trace_id for span in roots if span.context}) == len(roots)
    assert {(span.attributes or {})["maia.round"] for span in roots} == set(range(1, len(roots) + 1))


async def test_what_a_journal_holds_is_in_no_second_trace(addresses: Addresses, tmp_path: Path) -> None:
    out, cache = tmp_path / "out", tmp_path / "cache"
    first = await traced(addresses, out, cache, rounds=2)
    rounds = [span for span in first if span.name == "round"]
    (journal,) = out.rglob(FILE_NAME)
    lines = journal.read_bytes().splitlines(keepends=True)
    events = JournalReader(journal.parent).events
    second = next(place for place, event in enumerate(events) if getattr(event, "round", 0) == 2)
    journal.write_bytes(b"".join(lines[:second]))  # as if it had been killed before the second reply
    again = await traced(addresses, out, cache, rounds=2)
    repeated = [span for span in again if span.name == "round"]
    assert [(span.attributes or {})["maia.round"] for span in repeated] == list(range(2, len(rounds) + 1))

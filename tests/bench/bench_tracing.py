"""What traces cost: the same request, answered from the cache, with its spans sent to a collector and without."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.bench.ratios import Round, interval, measured_in_pairs
from tests.bench.servers import hosted, pictures, request, subject_server
from tests.bench.table import show

from maia.subject.v1 import subject_pb2_grpc
from maia.wire import tracing

PICTURES = 15
ROUNDS = 30
CALLS = 5
"""In a row, in each round: one alone is a millisecond or two."""


class Sink(BaseHTTPRequestHandler):
    """Takes whatever is sent."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name
        """Say nothing."""


@contextmanager
def collector() -> Iterator[str]:
    """A collector on loopback; yields its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Sink) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


async def traced_against_untraced() -> list[tuple[str, str, str]]:
    """Seconds with spans on both sides over those without."""
    asked = request("nothing", pictures(PICTURES, 1), "0")

    def calling(stub: subject_pb2_grpc.SubjectServiceAsyncStub, *, traced: bool) -> Round:
        async def ask() -> None:
            if not traced:
                await stub.MeasureUnits(asked)
                return
            with tracing.span("MeasureUnits", kind="client"):
                await stub.MeasureUnits(asked, metadata=tracing.outgoing())

        async def calls(_: int) -> float:
            started = time.perf_counter()
            for _ in range(CALLS):
                await ask()
            return time.perf_counter() - started

        return calls

    with collector() as endpoint, tracing.exporting(endpoint, "bench"):
        async with AsyncExitStack() as stack:
            model = hosted("nothing")
            off = await stack.enter_async_context(subject_server(model))
            on = await stack.enter_async_context(subject_server(model, f"--otlp-endpoint={endpoint}"))
            ways = calling(on, traced=True), calling(off, traced=False)
            for way in ways:
                await way(0)  # connected, and in the cache
            pairs = await measured_in_pairs(*ways, ROUNDS)
    told = f"{interval(pairs.slowdowns, '.2f')}; {pairs.our_s / CALLS * 1e3:.2f} ms"
    return [(f"traces, {PICTURES} pictures from the cache: times of no traces", "≤ 1.1", told)]


def main() -> None:
    """Print the ratio."""
    show(asyncio.run(traced_against_untraced()))

"""What certificates and a token cost: the same request, answered from the cache, over either kind of connection."""

from __future__ import annotations

import asyncio
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

from tests.bench.ratios import Round, interval, measured_in_pairs
from tests.bench.servers import hosted, pictures, request, subject_server
from tests.bench.table import show

from maia.subject.v1 import subject_pb2_grpc
from maia.wire.certificates import files_of, make_certificates
from maia.wire.tls import ClientCredentials, TokenSource
from maia.wire.tokens import add_principal

PICTURES = 15
ROUNDS = 30
CALLS = 5
"""In a row, in each round: one alone is a millisecond or two."""


async def secured_against_plain() -> list[tuple[str, str, str]]:
    """Seconds of mutual TLS with a token over those of plain text."""
    asked = request("nothing", pictures(PICTURES, 1), "0")

    def calling(stub: subject_pb2_grpc.SubjectServiceAsyncStub) -> Round:
        async def calls(_: int) -> float:
            started = time.perf_counter()
            for _ in range(CALLS):
                await stub.MeasureUnits(asked)
            return time.perf_counter() - started

        return calls

    with tempfile.TemporaryDirectory() as folder:
        flags, credentials = _lab(Path(folder))
        async with AsyncExitStack() as stack:
            model = hosted("nothing")
            plain = calling(await stack.enter_async_context(subject_server(model)))
            secured = calling(await stack.enter_async_context(subject_server(model, *flags, credentials=credentials)))
            for way in (plain, secured):
                await way(0)  # connected, and in the cache
            pairs = await measured_in_pairs(secured, plain, ROUNDS)
    told = f"{interval(pairs.slowdowns, '.2f')}; {pairs.our_s / CALLS * 1e3:.2f} ms"
    return [(f"mTLS and a token, {PICTURES} pictures from the cache: times of plain text", "≤ 1.3", told)]


def _lab(folder: Path) -> tuple[tuple[str, ...], ClientCredentials]:
    """Certificates and a token: the server's flags, and what its client shows."""
    make_certificates(folder, hosts={})
    add_principal(folder / "tokens.toml", "bench", ["subject"], folder / "token")
    ca, certificate, key = files_of(folder, "subject")
    flags = (
        f"--tls-cert={certificate}",
        f"--tls-key={key}",
        f"--tls-client-ca={ca}",
        f"--tokens={folder / 'tokens.toml'}",
    )
    return flags, ClientCredentials(*files_of(folder, "orchestrator"), TokenSource(file=folder / "token"))


def main() -> None:
    """Print the ratio."""
    show(asyncio.run(secured_against_plain()))

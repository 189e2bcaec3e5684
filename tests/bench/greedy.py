"""One who asks for very much beside others who ask for one thing each: for how many batches do those wait?

Counted, not timed. The network that is measured counts its passes in a file, and what it answers for a picture is the
number of the pass in which it looked at it. From that and the count when a client sends follows how many passes began
until its own, that one included.

One pass is held until all requests have arrived, as the long pass of a real network would be: the count is of what the
queue does, and not of how long requests are under way on a busy machine.
"""

from __future__ import annotations

import asyncio
import re
import socket
import tempfile
from pathlib import Path
from urllib.request import urlopen

from tests.bench.networks import PASSES, Passes
from tests.bench.servers import hosted, pictures, request, subject_server

from maia.subject.v1 import subject_pb2_grpc
from maia.type.v1 import type_pb2
from maia.wire.calls import call_metadata

REQUESTS = 200
OTHERS = 15
POLL_S = 0.01


async def waits(batch: int, rounds: int) -> list[int]:
    """Return for how many passes each of the others waited, in all rounds."""
    found: list[int] = []
    with tempfile.NamedTemporaryFile() as file:
        file.write(bytes(Passes.BYTES))
        file.flush()
        passes, metrics = Passes(Path(file.name)), f"127.0.0.1:{_free_port()}"
        passes.let_go()
        flags = (f"--batch={batch}", "--cache-mb=0", f"--metrics-listen={metrics}")
        async with subject_server(hosted("counting"), *flags, environment={PASSES: file.name}) as stub:
            for number in range(rounds):
                try:
                    found += await _round(stub, passes, metrics, number)
                finally:
                    passes.let_go()
    return found


def bound(batch: int) -> int:
    """Return for how many passes each may wait: one that is formed already, and those that serve all sixteen once."""
    return 1 + -(-(OTHERS + 1) // batch)


async def _round(
    stub: subject_pb2_grpc.SubjectServiceAsyncStub, passes: Passes, metrics: str, number: int
) -> list[int]:
    asked = pictures(REQUESTS + OTHERS, number)
    earlier = number * len(asked)

    async def pass_of(picture: type_pb2.Picture, session: str) -> int:
        # A name of its own in each round: who was never served has waited least.
        metadata = call_metadata(session=f"{session}-{number}")
        response = await stub.MeasureUnits(request("counting", [picture], "0"), metadata=metadata)
        return int(response.pictures[0].units[0].activation)

    before = passes.begun
    passes.hold()
    greedy = [asyncio.create_task(pass_of(picture, "greedy")) for picture in asked[:REQUESTS]]
    await _arrived(metrics, earlier + REQUESTS)
    while passes.begun == before:  # noqa: ASYNC110  (counted by another process)
        await asyncio.sleep(POLL_S)
    begun = passes.begun
    others = [asyncio.create_task(pass_of(picture, f"other-{index}")) for index, picture in enumerate(asked[REQUESTS:])]
    await _arrived(metrics, earlier + REQUESTS + OTHERS)
    passes.let_go()
    own, _ = await asyncio.gather(*others), await asyncio.gather(*greedy)
    return [each - begun for each in own]


async def _arrived(metrics: str, count: int) -> None:
    """Wait until the server has looked for so many pictures in its cache, after which they are in its queue."""

    def counted() -> float:
        with urlopen(f"http://{metrics}/metrics") as answer:
            found = re.search(r"^maia_cache_misses_total{.*} (.*)$", answer.read().decode(), re.MULTILINE)
        return float(found[1]) if found else 0

    while await asyncio.to_thread(counted) < count:  # noqa: ASYNC110  (counted by another process)
        await asyncio.sleep(POLL_S)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])

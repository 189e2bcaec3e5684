"""What the subject server adds to its model and what it saves: round trips, throughput, MAIA's way, fairness, start."""

from __future__ import annotations

import asyncio
import time

from tests.bench import networks
from tests.bench.against_maia import against_maia
from tests.bench.greedy import OTHERS, REQUESTS, bound, waits
from tests.bench.ratios import interval
from tests.bench.servers import hosted, pictures, request, subject_server
from tests.bench.starting import starting
from tests.bench.table import show
from tests.bench.throughput import CLIENTS, EACH, throughput
from tests.bench.timing import Times

from maia.subject.v1 import subject_pb2

Rows = list[tuple[str, str, str]]

WARM = 10
"""Round trips that are not counted."""


async def round_trips() -> Rows:
    """One picture, a network that does nothing: measured for the first time, and again for another unit."""
    first: list[float] = []
    again: list[float] = []
    asked: list[float] = []
    async with subject_server(hosted("nothing")) as stub:
        for picture in pictures(60, 1):
            for taken, unit in ((first, 0), (again, 1)):
                started = time.perf_counter()
                await stub.MeasureUnits(request("nothing", [picture], "0", unit))
                taken.append(time.perf_counter() - started)
            started = time.perf_counter()
            await stub.ListSubjects(subject_pb2.ListSubjectsRequest())
            asked.append(time.perf_counter() - started)
    once, twice, bare = (Times(tuple(taken[WARM:])) for taken in (first, again, asked))
    return [
        ("a request without any work", "", f"{bare} ms"),
        ("one picture, a network that does nothing: round trip", "≤ 3 ms", f"{once} ms"),
        ("the same picture for another unit", "≤ 3 ms", f"{twice} ms"),
    ]


async def cached(rounds: int = 20) -> Rows:
    """Pictures of ResNet-18 measured again, one at a time, for another unit of the same layer."""
    taken = []
    async with subject_server(hosted("resnet18")) as stub:
        asked = pictures(EACH, 1)
        await stub.MeasureUnits(request("resnet18", asked, networks.DEEPEST))
        for unit in range(1, rounds + 1):
            started = time.perf_counter()
            await stub.MeasureUnits(request("resnet18", [asked[unit % EACH]], networks.DEEPEST, unit))
            taken.append(time.perf_counter() - started)
    return [("ResNet-18, a picture measured again, another unit", "≤ 3 ms", f"{Times(tuple(taken))} ms")]


async def shares() -> Rows:
    """Throughput of many clients."""
    return [
        (
            f"{CLIENTS} clients × {EACH} pictures, {factory}: share of a bare loop's throughput",
            wanted,
            await throughput(factory, rounds),
        )
        for factory, rounds, wanted in (("resnet18", 4, "≥ 95 %"), ("resnet152", 2, "≥ 97 %"))
    ]


async def maias_way() -> Rows:
    """What those who go over from MAIA's own code save."""
    return await against_maia(rounds=3)


async def fairness(rounds: int = 3) -> Rows:
    """Batches that others wait for beside a greedy one; the worst of all rounds."""
    rows = []
    for batch in (1, 4, 8, 16):
        found = await waits(batch, rounds)
        what = f"{REQUESTS} requests of one beside {OTHERS} with one each, batches of {batch}: the longest wait"
        rows.append((what, f"≤ {bound(batch)} batches", f"{max(found)} batches, of {len(found)} waits"))
    return rows


async def start(rounds: int = 4) -> Rows:
    """From nothing to the first answer."""
    pairs = await starting("resnet50", rounds)
    return [
        (
            "start with ResNet-50 on disk: times of import and load alone",
            "≤ 1.5",
            f"{interval(pairs.slowdowns, '.2f')}; {pairs.our_s:.1f} against {pairs.their_s:.1f} s",
        )
    ]


def main() -> None:
    """Print a table of each part as soon as it is measured."""
    for part in (round_trips, cached, shares, maias_way, fairness, start):
        show(asyncio.run(part()))

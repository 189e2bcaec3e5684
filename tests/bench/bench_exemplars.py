"""What finding exemplars costs beside the network alone, in time, memory and room, and what asking for them takes."""

from __future__ import annotations

import asyncio
import io
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from tests.bench import networks
from tests.bench.companion import companion
from tests.bench.exemplar_build import peak_mb, rate
from tests.bench.ratios import Pairs, interval
from tests.bench.servers import hosted, pictures, server
from tests.bench.table import show
from tests.bench.timing import Times

from maia.exemplars.v1 import exemplars_pb2, exemplars_pb2_grpc
from maia.services.exemplars.store import ExemplarStore
from maia.services.interchange.exporting import export_layers
from maia.services.interchange.importing import import_sets
from maia.type.v1 import type_pb2

Rows = list[tuple[str, str, str]]

BATCH = 16
TOP = 15
TINY = "python:tests.unit.services.building.networks:tiny"
SIDE = 224  # of MAIA's arrays


def photographs(folder: Path, count: int) -> Path:
    """Make a folder of pictures of the size that networks take."""
    folder.mkdir()
    for number, picture in enumerate(pictures(count, 1)):
        (folder / f"{number:05}.jpg").write_bytes(picture.data)
    return folder


def stamps(folder: Path, count: int) -> Path:
    """Make a folder of tiny pictures."""
    folder.mkdir()
    random = np.random.default_rng(2)
    for number in range(count):
        buffer = io.BytesIO()
        Image.fromarray(random.integers(0, 256, (16, 16, 3), np.uint8)).save(buffer, "PNG", compress_level=0)
        (folder / f"{number:05}.png").write_bytes(buffer.getvalue())
    return folder


async def beside_the_network(folder: Path) -> Rows:
    """Passes of ResNets beside a bare loop, and what a whole build takes."""
    few, many = photographs(folder / "few", 160), photographs(folder / "many", 400)
    eighteen, whole = await passes("resnet18", many, folder / "eighteen", rounds=2)
    large, _ = await passes("resnet152", few, folder / "large", rounds=3)
    share = "a pass with five layers hooked: share of a bare loop's pictures per second"
    return [
        (f"ResNet-18, 400 pictures, {share}", "≥ 75 %", _speed(eighteen, 400)),
        (f"ResNet-152, 160 pictures, {share}", "≥ 90 %", _speed(large, 160)),
        ("ResNet-18, 400 pictures: times of the loop for the whole build", "≤ 2.3", interval(whole.slowdowns, ".2f")),
        *_size(folder / "eighteen"),
    ]


async def passes(factory: str, dataset: Path, store: Path, rounds: int) -> tuple[Pairs, Pairs]:
    """Return a pass beside the loop, and all of a build beside it, by turns one or the other first."""
    async with companion("exemplar_pass", factory, str(dataset), str(store)) as process:
        await process.ask(way="bare", batch=BATCH)
        bare, passed, finished = [], [], []
        for number in range(rounds):
            if number % 2:
                bare.append(await process.ask(way="bare", batch=BATCH))
            passed.append(await process.ask(way="pass", batch=BATCH))
            finished.append(await process.ask(way="finish", batch=BATCH))
            if not number % 2:
                bare.append(await process.ask(way="bare", batch=BATCH))
    whole = [one + other for one, other in zip(passed, finished, strict=True)]
    return Pairs(tuple(passed), tuple(bare)), Pairs(tuple(whole), tuple(bare))


def _speed(pairs: Pairs, count: int) -> str:
    rates = f"{count / pairs.our_s:.1f} against {count / pairs.their_s:.1f} pictures/s"
    return f"{interval(pairs.speedups, '.1%')}; {rates}"


def _size(store: Path) -> Rows:
    """A set beside MAIA's files for the same units."""
    (manifest,) = ExemplarStore(store).manifests()
    folder = ExemplarStore(store).folder_of(manifest)
    units = sum(layer.units for layer in manifest.layers)
    sizes = {path.name: path.stat().st_size for path in folder.iterdir() if path.is_file()}
    ours = _bytes(folder)
    rows = TOP * (len("1.23456e+00,") + len("12345,")) + len("1.23456e+00\n")
    theirs = TOP * (3 * SIDE**2 + SIDE**2) + rows
    told = f"{ours / units / theirs:.3f}; {ours / units / 1000:.0f} against {theirs / 1000:,.0f} kB a unit"
    kept = f"{sizes['pictures.bin'] / ours:.0%} of it pictures"
    return [(f"a set of {units:,} units: share of the room that MAIA's files take", "≤ 0.1", f"{told}, {kept}")]


def imported(folder: Path) -> Rows:
    """MAIA's files of one layer, and the lossless set that they become."""
    store = ExemplarStore(folder / "eighteen")
    (manifest,) = store.manifests()
    layer = store.find(manifest.subject, manifest.layers[0].name)
    export_layers([layer], folder / "exported")
    import_sets(folder / "exported", ExemplarStore(folder / "imported"))
    ours, theirs = _bytes(folder / "imported"), _bytes(folder / "exported")
    told = f"{ours / theirs:.3f}; {ours / 1e6:.0f} against {theirs / 1e6:.0f} MB"
    return [(f"MAIA's files of {layer.layer.units} units imported, lossless: share of their room", "", told)]


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


async def asking(folder: Path) -> Rows:
    """Exemplars of one unit after the other, from a server in a process of its own."""
    store = folder / "eighteen"
    layers = ExemplarStore(store).manifests()[0].layers
    taken = []
    async with server("exemplars", f"--store={store}") as channel:
        stub = exemplars_pb2_grpc.ExemplarsServiceStub(channel)
        for number in range(220):
            unit = type_pb2.Unit(layer=layers[number % len(layers)].name, index=number % layers[0].units)
            started = time.perf_counter()
            await stub.GetExemplars(exemplars_pb2.GetExemplarsRequest(subject=hosted("resnet18"), unit=unit))
            taken.append(time.perf_counter() - started)
    return [(f"GetExemplars of {TOP} pictures, warm", "≤ 15 ms", f"{Times(tuple(taken[20:]))} ms")]


async def memory(folder: Path) -> Rows:
    """The most memory of a build, of few pictures and of many."""
    flags = ("--batch", str(BATCH))
    peaks = [
        await peak_mb(TINY, stamps(folder / f"stamps-{count}", count), folder / f"store-{count}", *flags)
        for count in (1_000, 20_000)
    ]
    told = f"{peaks[1] / peaks[0]:.3f}; {peaks[1]:.0f} against {peaks[0]:.0f} MB"
    return [("peak memory of a build, 20,000 pictures over 1,000", "≤ 1.05", told)]


async def cluster(folder: Path) -> Rows:
    """Two workers of one thread each beside one process of two threads."""
    dataset = folder / "many"
    flags = ("--layers", ",".join(networks.MAIA_LAYERS.values()), "--batch", str(BATCH))
    alone = await rate(hosted("seeded18"), dataset, folder / "alone", *flags, threads=2)
    ray = ("--engine", "ray", "--shards", "2", "--threads-per-task", "1")
    parts = await rate(hosted("seeded18"), dataset, folder / "parts", *flags, *ray, threads=1)
    told = f"{parts / alone:.2f}; {parts:.1f} against {alone:.1f} pictures/s"
    return [("ResNet-18 on two Ray workers of one thread: speed beside one process of two", "≥ 0.9", told)]


async def _rows() -> Rows:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        return [
            *await beside_the_network(folder),
            *imported(folder),
            *await asking(folder),
            *await cluster(folder),
            *await memory(folder),
        ]


def main() -> None:
    """Print the table."""
    show(asyncio.run(_rows()))

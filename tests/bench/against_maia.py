"""MAIA's way to measure units of ResNet-152 beside the server's, over the units that MAIA has published."""

from __future__ import annotations

import math
import statistics
import time

from tests.bench import networks
from tests.bench.companion import companion
from tests.bench.ratios import Pairs, interval, measured_in_pairs
from tests.bench.servers import hosted, pictures, request, subject_server

UNITS = {"conv1": 10, "layer1": 15, "layer2": 20, "layer3": 25, "layer4": 30}
"""Units of each layer among the hundred."""

EACH = 15
"""Pictures of one experiment, none of them seen before."""

FACTORY = "resnet152"


async def against_maia(rounds: int) -> list[tuple[str, str, str]]:
    """Return both weighted figures, and a row for each layer."""
    layers: dict[str, Pairs] = {}
    async with companion("bare_network", FACTORY, "singly") as maia, subject_server(hosted(FACTORY)) as stub:
        seeds = iter(range(10_000))
        warm = next(seeds)
        await stub.MeasureUnits(request(FACTORY, pictures(2, warm), networks.DEEPEST))
        await maia.ask(seed=warm, count=2, layer=networks.DEEPEST)
        for layer, module in networks.MAIA_LAYERS.items():
            asked = [next(seeds) for _ in range(rounds)]

            async def ours(number: int, asked: list[int] = asked, module: str = module) -> float:
                measured = request(FACTORY, pictures(EACH, asked[number]), module)
                started = time.perf_counter()
                await stub.MeasureUnits(measured)
                return time.perf_counter() - started

            async def theirs(number: int, asked: list[int] = asked, module: str = module) -> float:
                return await maia.ask(seed=asked[number], count=EACH, layer=module)

            layers[layer] = await measured_in_pairs(ours, theirs, rounds)
    return _rows(layers, rounds)


def _rows(layers: dict[str, Pairs], rounds: int) -> list[tuple[str, str, str]]:
    total = sum(UNITS.values())
    means = [
        math.exp(sum(UNITS[layer] * math.log(pairs.speedups[number]) for layer, pairs in layers.items()) / total)
        for number in range(rounds)
    ]
    ours = [sum(UNITS[layer] * pairs.ours[number] for layer, pairs in layers.items()) for number in range(rounds)]
    theirs = [sum(UNITS[layer] * pairs.theirs[number] for layer, pairs in layers.items()) for number in range(rounds)]
    totals = [whole / own for own, whole in zip(ours, theirs, strict=True)]
    spent = f"{statistics.median(ours):,.0f} against {statistics.median(theirs):,.0f} s"
    what = f"ResNet-152, {total} units × {EACH} pictures: MAIA's way / ours"
    return [
        (f"{what}, geometric mean", "≥ 2.6", interval(means, ".2f")),
        (f"{what}, total time", "≥ 1.8", f"{interval(totals, '.2f')}; {spent}"),
        *(
            (
                f"  a unit of {layer}, weight {UNITS[layer]}",
                "",
                f"{interval(pairs.speedups, '.2f')}; {pairs.our_s:.2f} against {pairs.their_s:.2f} s",
            )
            for layer, pairs in layers.items()
        ),
    ]

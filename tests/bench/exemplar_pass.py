"""A pass over a folder beside a bare loop, as a companion: `python -m tests.bench.exemplar_pass FACTORY FOLDER STORE`.

    bare      decodes and prepares each picture and runs the whole network on it, batch by batch, and keeps nothing
    pass      finds a part of the exemplars of five layers, which is all
    finish    writes their set, after a pass

All three open the dataset themselves. One process does them: the network is the same, and only one of them works.
"""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

import torch
from tests.bench import networks
from tests.bench.companion import answering
from tests.bench.servers import hosted
from torch import nn

from maia.services._runtime.memory import keep_freed_memory
from maia.services.building.datasets.dataset import open_dataset
from maia.services.building.finishing import finish
from maia.services.building.passing import Pass, Wanted, run_part
from maia.services.building.plan import Shard
from maia.services.subject.backends.networks import catalogue
from maia.services.subject.backends.networks.options import NetworkOptions
from maia.services.subject.backends.networks.preprocessing import IMAGENET
from maia.wire.pictures import decode

CPU = torch.device("cpu")


def bare(module: nn.Module, folder: Path, batch: int) -> None:
    """Run every picture once."""
    files = sorted(folder.iterdir())
    with torch.inference_mode():
        for start in range(0, len(files), batch):
            some = [IMAGENET.prepare(decode(file.read_bytes())) for file in files[start : start + batch]]
            module(IMAGENET.batch(some, CPU))


def main() -> None:
    """Load the network, then do as told."""
    factory, folder, store = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    keep_freed_memory()
    torch.manual_seed(1)
    subject = catalogue.load(hosted(factory), NetworkOptions(device="cpu"))
    module: nn.Module = getattr(networks, factory)().eval()
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    passes: list[Pass] = []

    def work(*, way: str, batch: int) -> float:
        if way == "pass":
            shutil.rmtree(store, ignore_errors=True)
        started = time.perf_counter()
        if way == "bare":
            bare(module, folder, batch)
        elif way == "pass":
            dataset = open_dataset(str(folder), store=store)
            wanted = Wanted(tuple(networks.MAIA_LAYERS.values()), batch)
            passes[:] = [Pass.of(subject, dataset, store, wanted)]
            run_part(passes[0], Shard())
        else:
            finish(passes[0].plan, passes[0].dataset, 1, store)
        return time.perf_counter() - started

    answering(work)


main()

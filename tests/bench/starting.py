"""How long a subject server takes until its first answer, beside a script that imports torch and loads the model."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.bench import networks
from tests.bench.children import child
from tests.bench.ratios import Pairs, measured_in_pairs
from tests.bench.servers import subject_server

from maia.subject.v1 import subject_pb2

PREPROCESSOR = {
    "image_processor_type": "ConvNextImageProcessor",
    "size": {"shortest_edge": 224},
    "crop_pct": 0.875,
    "resample": 3,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
}
"""As the published ResNets of transformers have it."""

SCRIPT = """
import sys; sys.modules["torchvision"] = None
import torch
from transformers import AutoModelForImageClassification
AutoModelForImageClassification.from_pretrained(sys.argv[1])
print(flush=True)
"""


async def starting(factory: str, rounds: int) -> Pairs:
    """Return seconds of both, each begun anew in every round.

    Args:
        factory: Of the network, which is saved as transformers saves its models.
        rounds: How often, after once uncounted.
    """
    with tempfile.TemporaryDirectory() as folder:
        _save(factory, Path(folder))

        async def ours(_number: int) -> float:
            started = time.perf_counter()
            async with subject_server(f"transformers:{folder}") as stub:
                await stub.ListSubjects(subject_pb2.ListSubjectsRequest())
                return time.perf_counter() - started

        async def theirs(_number: int) -> float:
            started = time.perf_counter()
            async with child("-c", SCRIPT, folder) as script:
                await script.line()
                return time.perf_counter() - started

        await measured_in_pairs(ours, theirs, 1)  # files not yet in memory, modules not yet compiled
        return await measured_in_pairs(ours, theirs, rounds)


def _save(factory: str, folder: Path) -> None:
    """Save a network and how its pictures are prepared."""
    module: Any = getattr(networks, factory)()
    module.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR))

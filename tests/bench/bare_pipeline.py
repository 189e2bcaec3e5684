"""A text-to-image pipeline called with nothing around it, as a companion: `python -m tests.bench.bare_pipeline FOLDER`.

One call for all prompts, with the same numbers as the server's, and every picture encoded as the server encodes it. Of
memory it keeps what it frees, as the server does, so that the figure is of serving alone.
"""

from __future__ import annotations

import importlib
import sys
import time
from typing import Any

import torch
from tests.bench.companion import answering
from tests.bench.pipelines import GUIDANCE, SIDE, STEPS

from maia.services._runtime.memory import keep_freed_memory
from maia.wire.pictures import encode_png


def main() -> None:
    """Load the pipeline, then call it as told."""
    keep_freed_memory()
    diffusers: Any = importlib.import_module("diffusers")
    pipeline = diffusers.DiffusionPipeline.from_pretrained(sys.argv[1])
    pipeline.set_progress_bar_config(disable=True)

    def work(*, prompts: list[str], seeds: list[int]) -> float:
        started = time.perf_counter()
        output = pipeline(
            prompt=prompts,
            generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
            output_type="np",
            width=SIDE,
            height=SIDE,
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE,
        )
        for pixels in output.images:
            encode_png((pixels * 255).round().astype("uint8"))
        return time.perf_counter() - started

    answering(work)


main()

"""What an operator may choose about a pipeline, and what is wrong with a choice before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Task = Literal["generation", "editing"]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]
Offload = Literal["none", "model", "sequential"]
Quantisation = Literal["none", "bitsandbytes-8bit", "bitsandbytes-4bit", "torchao-int8", "torchao-fp8"]


@dataclass(frozen=True, slots=True)
class DiffusionOptions:
    """A pipeline, where it runs, and what overrides its recipe; None leaves a number to the recipe.

    Attributes:
        model: A folder, a folder below `model_dir`, or a name on the Hugging Face hub.
        revision: Of the name on the hub: a branch, tag or commit; "" is its main branch.
        variant: Of the weight files, for example "fp16"; "" is the plain one.
        model_dir: Folder with models by name: `<model_dir>/<owner>/<name>`.
        offline: Download nothing; use what is in folders and in the hub's cache.
        device: "auto", "cpu", "cuda", "cuda:1", "mps".
        dtype: "auto" is the recipe's on an accelerator and float32 on a processor.
        steps: At least 1.
        guidance: 0 or more, finite.
        width: In pixels. An editor keeps its picture's shape, so that width × height is only the area.
        height: In pixels.
        offload: What waits in main memory: nothing, whole models, single layers.
        quantisation: Of the denoiser and, by bitsandbytes, of large text encoders.
        gguf: A file with the quantised denoiser, in place of the pipeline's own.
        attention_slicing: Slower, in less memory.
    """

    model: str
    revision: str = ""
    variant: str = ""
    model_dir: Path | None = None
    offline: bool = False
    device: str = "auto"
    dtype: Dtype = "auto"
    steps: int | None = None
    guidance: float | None = None
    width: int | None = None
    height: int | None = None
    offload: Offload = "none"
    quantisation: Quantisation = "none"
    gguf: Path | None = None
    attention_slicing: bool = False

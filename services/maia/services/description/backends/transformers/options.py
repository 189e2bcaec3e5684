"""What an operator may choose about a model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Dtype = Literal["auto", "float32", "bfloat16", "float16"]


@dataclass(frozen=True, slots=True)
class TransformersOptions:
    """A model, and where it runs.

    Attributes:
        model: A folder, a folder below `model_dir`, or a name on the Hugging Face hub.
        revision: Of the name on the hub: a branch, tag or commit; "" is its main branch.
        model_dir: Folder with models by name: `<model_dir>/<owner>/<name>`.
        offline: Download nothing; use what is in folders and in the hub's cache.
        device: "auto", "cpu", "cuda", "cuda:1", "mps".
        dtype: "auto" is that of the model's files on an accelerator and float32 on a processor.
        max_tokens: Longest answer.
    """

    model: str
    revision: str = ""
    model_dir: Path | None = None
    offline: bool = False
    device: str = "auto"
    dtype: Dtype = "auto"
    max_tokens: int = 128

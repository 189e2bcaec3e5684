"""What it looks like when a model's memory is full, whatever library the model is made with."""

from __future__ import annotations

import gc
import sys
from typing import Final

__all__ = ["is_out_of_memory", "release_memory"]

_WORDS: Final = ("out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED", "can't allocate memory")
"""In RuntimeErrors of torch where it has no class of error of its own for it, as on the CPU."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether smaller batches might help."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS)


def release_memory() -> None:
    """Give back what a failed batch has left."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()

"""A model's memory: how much of it stays with the process, and what it looks like when it is full."""

from __future__ import annotations

import ctypes
import gc
import sys
from typing import Final

__all__ = ["is_out_of_memory", "keep_freed_memory", "release_memory"]

_M_TRIM_THRESHOLD: Final = -1  # of glibc's malloc.h
_M_TOP_PAD: Final = -2
_M_MMAP_MAX: Final = -4
_M_ARENA_MAX: Final = -8

_WORDS: Final = ("out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED", "can't allocate memory")
"""In RuntimeErrors of torch where it has no class of error of its own for it, as on the CPU."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether smaller batches might help."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS)


def keep_freed_memory() -> None:
    """Let the process keep what it frees, for its next batch.

    glibc would give every larger array back to the kernel and ask for it anew, page by page, which took a sixth of a
    small request's time; and what a thread that is not the first has for itself is bounded by 64 MB, less than a
    batch's maps. So all threads take from one pool and every array comes from it, which `release_memory` shrinks.
    Other C libraries are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, 256 << 20)
        mallopt(_M_TOP_PAD, 16 << 20)
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_ARENA_MAX, 1)


def release_memory() -> None:
    """Give back what a failed batch has left."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()

"""What the policy raises, and where in the block."""

from __future__ import annotations

import sys

BLOCK_PREFIX = "<block "
"""How the file names of blocks begin; the runner names them "<block 1>", "<block 2>" and so on."""


class PolicyViolation(Exception):  # noqa: N818  the word of the outcome that it becomes
    """A block says something that the policy refuses.

    Attributes:
        message: One sentence for the block's author: what is refused and what to write instead.
        line: The line of the block, from 1; None where no block was running.
        filename: The block, where the text alone was refused and so no traceback leads there; else None.
    """

    def __init__(self, message: str, line: int | None = None, filename: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.filename = filename


class ImportRefused(PolicyViolation, ImportError):  # noqa: N818  as its base
    """An import outside the session's list; an ImportError too, so that code with a fallback takes it."""


def running_line() -> int | None:
    """The line that the innermost running block is at, or None outside of blocks."""
    frame = sys._getframe(1)  # noqa: SLF001  the documented way to reach the caller's frame
    while not frame.f_code.co_filename.startswith(BLOCK_PREFIX):
        if frame.f_back is None:
            return None
        frame = frame.f_back
    return frame.f_lineno

"""An error as the author of the blocks should read it."""

from __future__ import annotations

import re
from traceback import FrameSummary, StackSummary, TracebackException
from typing import TYPE_CHECKING

from maia.sandbox.guest.policy.violation import BLOCK_PREFIX, PolicyViolation

if TYPE_CHECKING:
    from collections.abc import Iterator

_OUR_NAMES = re.compile(r"^((?:[ |+-]*\| )?)maia(?:\.\w+)+\.(\w+)(?=:|$)", re.MULTILINE)
"""The dotted name of an exception class of ours at the start of a line; group 2 is the class."""


def clean_traceback(error: BaseException, prefix: str = BLOCK_PREFIX, *, limit: int = 8000) -> str:
    """Format an error with the frames of blocks only.

    Chained exceptions, notes and groups are kept. Frames of the runner, the policy and libraries are left out, and so
    is the heading where none remains.

    Args:
        error: With the traceback that it was caught with.
        prefix: What the file names of blocks begin with.
        limit: Most characters of text; a longer one loses its middle, and a note says how much.
    """
    try:
        text = _format(error, prefix)
    except Exception as failure:  # noqa: BLE001  a block's exception may answer any question about it with an error
        text = f"An exception that cannot be shown: describing it raised {type(failure).__name__}."
    return _cut(text, limit)


def _format(error: BaseException, prefix: str) -> str:
    summary = TracebackException.from_exception(error, compact=True)
    for part in _parts(summary):
        own = [frame for frame in part.stack or () if frame.filename.startswith(prefix)]
        if part is summary and not own and isinstance(error, PolicyViolation) and error.filename:
            own = [FrameSummary(error.filename, error.line, "<module>")]
        # None is what TracebackException itself holds for an error without a traceback: no heading then.
        part.stack = StackSummary.from_list(own) if own else None  # type: ignore[assignment]  # typeshed omits None
    return _OUR_NAMES.sub(r"\1\2", "".join(summary.format()).rstrip("\n"))


def _parts(summary: TracebackException) -> Iterator[TracebackException]:
    """An exception with its causes, contexts and group members."""
    waiting = [summary]
    while waiting:
        part = waiting.pop()
        yield part
        waiting += [other for other in (part.__cause__, part.__context__) if other is not None]
        waiting += part.exceptions or []


def _cut(text: str, limit: int) -> str:
    """The beginning and the end of a long text: where it happened, and what."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n... ({len(text) - 2 * half} characters left out) ...\n{text[-half:]}"

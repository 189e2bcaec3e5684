"""From the source of a block to its code."""

from __future__ import annotations

import ast
import linecache
import re
from typing import TYPE_CHECKING

from maia.sandbox.guest.policy.transformer import BlockTransformer

if TYPE_CHECKING:
    from types import CodeType


def compile_block(source: str, filename: str, *, restricted: bool) -> CodeType:
    """Compile one block for `exec`; the value of a last expression is not printed.

    The source is kept in `linecache` under the file name, so that tracebacks can show its lines.

    Args:
        source: Python, of any number of lines; line 1 of the block is line 1 of the code.
        filename: "<block N>"; what begins with `BLOCK_PREFIX` is a block to tracebacks and to line numbers.
        restricted: Apply the language policy; otherwise plain Python.

    Raises:
        PolicyViolation: The policy refuses something that the text shows.
        SyntaxError: As Python's own; also for NUL bytes, lone surrogates and nesting that the parser cannot hold.
    """
    # Not splitlines(): that also splits where Python does not, at a form feed for one.
    lines = [line + "\n" for line in re.split(r"\r\n|\r|\n", source)]
    linecache.cache[filename] = (len(source), None, lines, filename)
    if "\0" in source:
        raise SyntaxError("the block holds a NUL byte, which is no text", (filename, 1, None, None))
    try:
        if not restricted:
            return compile(source, filename, "exec", dont_inherit=True)
        tree = ast.parse(source, filename)
        BlockTransformer(filename).visit(tree)
        return compile(tree, filename, "exec", dont_inherit=True)
    except (RecursionError, MemoryError):
        reason = "the block is nested too deeply to be compiled; split it into smaller statements"
    except UnicodeEncodeError as error:
        reason = f"the block holds a lone surrogate at character {error.start}, which is no text"
    raise SyntaxError(reason, (filename, 1, None, None))

"""What an agent might do next in a session, good and bad, and how it may end."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from tests.bench.runtimes import RUNAWAY

from maia.sandbox import Limits, Pixels, Status, Tool, ToolError

__all__ = ["ADDS", "DEEDS", "LATE", "LIMITS", "TOOLS", "Deed", "choose"]

LIMITS = Limits(wall_s=4, cpu_s=0.5, memory_mb=256, output_bytes=100_000, tmp_mb=8)
"""Short, so that most of an hour is not spent in runaway blocks."""

OK = frozenset({Status.OK})
UNLESS_REFUSED = frozenset({Status.OK, Status.POLICY})
LATE = frozenset({Status.WALL_CLOCK, Status.CPU})
"""On two cores with twenty sessions any block may come late."""


@dataclass(frozen=True, slots=True)
class Deed:
    """One block.

    Attributes:
        name: For the table of what was done.
        weight: How often, beside the others.
        code: Python; `total` is a variable of the session, `{add}` a number to add to it.
        ends: How it may end, coming late apart.
        interrupt_after_s: When to stop it from outside; None lets it be.
        close_after_s: When to close the session while it runs; None lets it be.
    """

    name: str
    weight: int
    code: str
    ends: frozenset[Status] = field(default=OK)
    interrupt_after_s: float | None = None
    close_after_s: float | None = None


def add(a: int, b: int) -> int:
    """Add two numbers, in a thread."""
    return a + b


async def show(figure: Pixels) -> str:
    """Take a figure."""
    return f"{figure.width}x{figure.height}"


async def refuse(reason: str) -> None:
    """Fail as the caller's fault."""
    raise ToolError(reason)


TOOLS = [Tool.of(add), Tool.of(show), Tool.of(refuse)]

_FIGURE = """
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(2, 2))
axes.plot([1, 4, 9])
print(show(figure))
plt.close(figure)
"""

_THREADS = """
import threading
threads = [threading.Thread(target=sorted, args=([3, 1, 2],)) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""

ADDS = "ordinary"
"""The deed that changes `total`."""

_DISK = """
try:
    with open('note', 'wb') as file:
        file.write(bytes(2**26))
finally:
    open('note', 'wb').close()
"""

DEEDS = (
    Deed(ADDS, 36, "total += {add}\nprint(total)"),
    Deed("exception", 8, "total / 0", frozenset({Status.EXCEPTION})),
    Deed("no Python", 3, "def (", frozenset({Status.EXCEPTION, Status.POLICY})),
    Deed("output", 6, "for i in range(500):\n    print('line', i)"),
    Deed("too much output", 3, "while True:\n    print('x' * 1000)", frozenset({Status.OUTPUT})),
    Deed("arrays", 6, "import numpy as np\nheld = np.ones(1_000_000)\nprint(held.sum())"),
    Deed("figure", 5, _FIGURE),
    Deed("file", 5, "with open('note', 'w') as file:\n    print(file.write('x' * 100_000))", UNLESS_REFUSED),
    Deed(
        "disk full",
        2,
        _DISK,
        frozenset({Status.EXCEPTION, Status.POLICY}),
    ),
    Deed("threads", 4, _THREADS, UNLESS_REFUSED),
    Deed("tool calls", 12, "for i in range(10):\n    assert add(i, 1) == i + 1"),
    Deed("refused tool call", 4, "refuse('no')", frozenset({Status.EXCEPTION})),
    Deed(
        "too much memory",
        3,
        "much = [bytes(range(256)) * 2**18 for _ in range(64)]",
        frozenset({Status.MEMORY, Status.EXCEPTION}),
    ),
    Deed("endless loop", 2, "while True:\n    pass", LATE),
    Deed("runaway", 2, RUNAWAY, LATE),
    Deed("interrupted", 3, RUNAWAY, frozenset({Status.INTERRUPTED}), interrupt_after_s=0.1),
    Deed("killed from inside", 3, "import os\nos._exit(3)", frozenset({Status.KILLED, Status.POLICY})),
    Deed("closed while it runs", 2, RUNAWAY, LATE, close_after_s=0.1),
)


def choose(chance: random.Random) -> Deed:
    """What comes next."""
    return chance.choices(DEEDS, [deed.weight for deed in DEEDS])[0]

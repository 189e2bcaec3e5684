"""What runs blocks of Python, whoever made it: the seam that the benches of the sandbox measure across."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

__all__ = ["FIRST", "HALF_GIGABYTE", "RUNAWAY", "TWENTY_LINES", "Opened", "Runtime", "UnavailableError"]

FIRST = "import numpy as np\nfrom PIL import Image\nprint(int(np.arange(3).sum()))"
"""What an agent's first block imports, and a result."""

TWENTY_LINES = "\n".join(f"value_{i} = [n * {i} for n in range(10)]\ntotal = sum(value_{i}) + {i}" for i in range(10))

HALF_GIGABYTE = "import numpy as np\nheld = [np.ones(1_250_000) for _ in range(50)]"
"""500 MB of arrays, all of it written."""

RUNAWAY = "sum(range(10**12))"
"""Hours of work in C, which looks at no signal and never lets go of the interpreter's lock."""


class UnavailableError(Exception):
    """This machine cannot do it; the message says why."""


class Opened(Protocol):
    """A session, or what comes nearest to one."""

    async def run(self, code: str) -> str:
        """Run a block; returns what it printed."""

    async def overrun(self, limit_s: float) -> None:
        """Run RUNAWAY until the limit that the session was opened with, end it, be ready for another block.

        Raises:
            UnavailableError: Nothing ends it.
        """

    async def close(self) -> None:
        """Give everything back."""


class Runtime(Protocol):
    """Opens sessions. An async context manager that raises UnavailableError where it cannot."""

    name: str
    isolates: str
    """What stands between its code and this machine, in a sentence."""

    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def open(self, limit_s: float = 60) -> Opened:
        """Open a session whose blocks may take so many seconds."""

"""Load on one set of servers: `python -m tests.load` lets 32 agents make 2,016 tool calls and checks every answer."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.bench.table import show
from tests.load.measuring import measure

AGENTS: Final = 32
CALLS: Final = 63
FAIR: Final = 0.2


def main() -> int:
    """Print a table; return 1 if an answer is another or the waits are unfair."""
    with tempfile.TemporaryDirectory() as folder:
        load = measure(Path(folder), agents=AGENTS, calls=CALLS)
    show(
        [
            (f"{load.calls} calls of {AGENTS} agents at once", "", f"{load.seconds:.1f} s"),
            ("the same, one after another", "", f"{load.serial_s:.1f} s"),
            ("answers lost, or other than alone", "0", str(load.different)),
            ("mean wait, and the 99th of a hundred", "", f"{load.mean_wait_s:.2f} s, {load.p99_wait_s:.2f} s"),
            ("mean wait of an agent from that of all, most", f"≤ {FAIR:.0%}", f"{load.unfairness:.1%}"),
        ]
    )
    return int(load.different > 0 or load.unfairness > FAIR)


if __name__ == "__main__":
    sys.exit(main())

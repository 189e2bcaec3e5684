"""What Linux knows of a process and of what came of it."""

from __future__ import annotations

import os
import re
from pathlib import Path

__all__ = ["descendants", "open_files", "private_mb", "process_name"]


def descendants(pid: int | None = None) -> set[int]:
    """All processes that this one, or the given one, started, and that they started; zombies are left out."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            except OSError:  # it has ended meanwhile
                continue
            if state not in "ZX":
                parents[int(entry.name)] = int(parent)
    found = {os.getpid() if pid is None else pid}
    size = 0
    while size != len(found):
        size = len(found)
        found |= {child for child, parent in parents.items() if parent in found}
    return found - {os.getpid() if pid is None else pid}


def private_mb(pid: int) -> float:
    """MB of memory that the process shares with no other; 0 if it has ended.

    Raises:
        PermissionError: Guests are not dumpable: only root can look.
    """
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Clean", "Private_Dirty"))) * 1024e-6


def process_name(pid: int) -> str:
    """The name that the kernel has for it."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "ended"


def open_files(pid: int) -> list[str]:
    """What its descriptors lead to, without the numbers that tell one socket, pipe or process from another.

    Raises:
        PermissionError: Only root can look.
    """
    found = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.append(re.sub(r"\d+", "N", str(link.readlink()).partition(":[")[0]))
        except FileNotFoundError:  # the descriptor of this very listing
            continue
    return sorted(found)

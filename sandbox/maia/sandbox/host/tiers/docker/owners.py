"""Who made a container, so that those whose maker is gone can be told from those in use."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

__all__ = ["LABEL", "is_orphan", "this_process"]

LABEL: Final = "maia.sandbox.owner"
"""Label of every container made here."""


def this_process() -> str:
    """This boot, pid namespace, process and the moment it started."""
    return f"{_place()} {os.getpid()} {_started(os.getpid())}"


def is_orphan(owner: str) -> bool:
    """Whether a label's process ran here and does not any more. What ran elsewhere is not ours to judge."""
    place, _, process = owner.partition(" ")
    number, _, started = process.partition(" ")
    return place == _place() and number.isdecimal() and _started(int(number)) != started


def _place() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}/{os.stat('/proc/self/ns/pid').st_ino}"  # noqa: PTH116  a link that leads to no path


def _started(pid: int) -> str:
    """Clock ticks from the boot to the start of a process; "gone" if there is none."""
    try:
        about = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return "gone"
    return about.rpartition(b")")[2].split()[19].decode()

"""Datagrams between a host and the zygote it launched: small, rare, between trusted processes, so JSON."""

from __future__ import annotations

import json
from typing import Final

__all__ = ["MAX_DATAGRAM", "exit_report", "parse"]

MAX_DATAGRAM: Final = 65536


def exit_report(pid: int, status: int, cpu_s: float, peak_kb: int) -> bytes:
    """How a guest ended, as the kernel tells its parent.

    Args:
        pid: In the zygote's pid namespace.
        status: As `wait` returns it.
        cpu_s: CPU seconds over its life.
        peak_kb: Largest resident set, in KiB.
    """
    return json.dumps({"exit": pid, "status": status, "cpu_s": cpu_s, "peak_bytes": peak_kb * 1024}).encode()


def parse(datagram: bytes) -> dict[str, object]:
    """Read a datagram."""
    message = json.loads(datagram)
    assert isinstance(message, dict)
    return message

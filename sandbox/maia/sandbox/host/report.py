"""What the sandbox can enforce on this machine, for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from maia.sandbox.errors import SandboxError, TierUnavailableError
from maia.sandbox.host.host import Host

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Feature", "TierReport", "probe"]

_FEATURES = (
    ("namespaces", "user, mount, pid, net, ipc, uts and cgroup: a session sees no other process, network or host"),
    ("root", "read-only, with the interpreter's library and the listed packages; no /proc, no /sys; a private /tmp"),
    ("seccomp", "system calls denied unless listed; mount, ptrace, bpf, io_uring and their like end the process"),
    ("privileges", "user nobody, no capabilities, no new privileges, not dumpable"),
    (
        "limits",
        "address space, threads, files, file size and /tmp by the kernel; wall clock, CPU and output by the host",
    ),
)


@dataclass(frozen=True, slots=True)
class Feature:
    """One thing that a tier enforces.

    Attributes:
        name: One word.
        enforced: Whether it is, here and now.
        detail: What it covers, or what is missing.
    """

    name: str
    enforced: bool
    detail: str


@dataclass(frozen=True, slots=True)
class TierReport:
    """What one tier does on this machine.

    Attributes:
        tier: "jail".
        available: Whether sessions can be opened.
        features: What holds.
        remedy: What to do if it is not available; empty if it is.
    """

    tier: str
    available: bool
    features: tuple[Feature, ...]
    remedy: str


async def probe(*, cache_dir: Path | None = None) -> TierReport:
    """Open a session in a jail and say what came of it. Takes about a second, more without a cache.

    Args:
        cache_dir: See `Host`.
    """
    try:
        async with Host(cache_dir=cache_dir):
            pass
    except TierUnavailableError as error:
        return TierReport(
            tier="jail",
            available=False,
            features=(Feature(name=error.step, enforced=False, detail=str(error)),),
            remedy=error.remedy,
        )
    except SandboxError as error:
        missing = Feature(name="start", enforced=False, detail=str(error))
        return TierReport(
            tier="jail", available=False, features=(missing,), remedy="See the message; the installation looks broken."
        )
    held = [Feature(name=name, enforced=True, detail=detail) for name, detail in _FEATURES]
    held += [
        Feature(
            name="landlock", enforced=False, detail="not used; the jail's root holds nothing that it would protect"
        ),
        Feature(name="memory by cgroup", enforced=False, detail="not used; memory is bounded by address space"),
    ]
    return TierReport(tier="jail", available=True, features=tuple(held), remedy="")

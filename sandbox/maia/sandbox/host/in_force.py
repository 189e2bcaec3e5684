"""What a guest found in force, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maia.sandbox.host.tiers.tier import Feature

if TYPE_CHECKING:
    from maia.sandbox.host.guest import InForce

__all__ = ["describe_in_force"]


def describe_in_force(found: InForce) -> tuple[Feature, ...]:
    """Features that every tier tries, as the trial session found them."""
    return (
        Feature(
            "seccomp",
            found.seccomp,
            "system calls denied unless listed; mount, ptrace, bpf, io_uring and their like end the process"
            if found.seccomp
            else "no filter of system calls",
        ),
        Feature(
            "landlock",
            found.landlock > 0,
            f"ABI {found.landlock}: files{', TCP' if found.landlock >= 4 else ''}"
            f"{', signals and abstract sockets' if found.landlock >= 6 else ''}"
            if found.landlock
            else "not in this kernel, or not used by this tier",
        ),
        Feature(
            "checkpoints",
            found.checkpoints,
            "a killed block costs its own variables only; each fork is allowed one by one (seccomp user notification)"
            if found.checkpoints
            else "forks cannot be allowed one by one here: a killed block costs a session its variables",
        ),
    )

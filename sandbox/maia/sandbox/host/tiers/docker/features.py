"""What a container enforces, in words, by what its engine says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from maia.sandbox.host.tiers.tier import Feature

__all__ = ["features"]

_SHARED: Final = (
    Feature("network", enforced=True, detail="none; frames travel over the container's standard streams"),
    Feature("root", enforced=True, detail="read-only, with the interpreter, its library and the listed packages"),
    Feature("privileges", enforced=True, detail="user nobody, no capabilities, no new privileges"),
)
_BY_ENGINE: Final = (
    ("memory", ("MemoryLimit", "SwapLimit"), "twice the session's memory, its /tmp, a base: by the container's cgroup"),
    ("processes", ("PidsLimit",), "processes and threads by the container's cgroup"),
    ("cpus", ("CpuCfsPeriod", "CpuCfsQuota"), "processors at once by the container's cgroup"),
)
_FILTERED: Final = "default deny for all processes of the container; the guest's own, narrower filter comes on top"
_FILTERS: Final = "--oci-seccomp"


def features(tier: str, runtime: str | None, about: Mapping[str, Any]) -> tuple[Feature, ...]:
    """Features of a tier.

    Args:
        tier: "docker" or "gvisor".
        runtime: As the engine calls it; None for its own default.
        about: What the engine says (`docker info`).
    """
    bounds = []
    for name, keys, detail in _BY_ENGINE:
        missing = ", ".join(key for key in keys if not about.get(key))
        bounds.append(Feature(name, not missing, f"this engine does not bound it ({missing})" if missing else detail))
    described = _of_gvisor(about, runtime) if tier == "gvisor" else _of_docker(about)
    return (*described, *_SHARED, *bounds)


def _of_docker(about: Mapping[str, Any]) -> tuple[Feature, ...]:
    options = " ".join(about.get("SecurityOptions") or ())
    remapped = "name=userns" in options or "name=rootless" in options
    mapped = "the engine maps users"
    unmapped = "none: nobody inside is nobody outside; a rootless engine or `userns-remap` would map users"
    return (
        Feature("kernel", enforced=False, detail="the host's own: a fault in a permitted call reaches it"),
        Feature("container seccomp", "name=seccomp" in options, _FILTERED),
        Feature("user namespace", remapped, mapped if remapped else unmapped),
        Feature(
            "/proc and /sys",
            enforced=False,
            detail="the container's own, partly masked by the engine; hidden from code only where there is Landlock",
        ),
        Feature("private /tmp", enforced=True, detail="in memory, bounded in bytes and files; nothing executable"),
    )


def _of_gvisor(about: Mapping[str, Any], runtime: str | None) -> tuple[Feature, ...]:
    filtered = _FILTERS in str((about.get("Runtimes") or {}).get(runtime))
    unfiltered = (
        f"only the guest's own filter: with `{_FILTERS}` among the runtime's arguments the container's holds too"
    )
    return (
        Feature("kernel", enforced=True, detail="gVisor's own, a confined process that makes few calls to the host's"),
        Feature("container seccomp", filtered, _FILTERED if filtered else unfiltered),
        Feature("/proc and /sys", enforced=False, detail="gVisor's own; code can read them: gVisor has no Landlock"),
        Feature("private /tmp", enforced=True, detail="in memory, bounded in bytes, not in files; nothing executable"),
    )

"""How a container is confined: what the engine is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Self

from maia.sandbox.host.tiers.docker.profile import seccomp_profile
from maia.sandbox.limits import Limits

__all__ = ["RUNSC", "USER", "Size", "host_options"]

RUNSC: Final = "runsc"
"""gVisor's runtime, as engines are usually told to call it."""

USER: Final = "65534:65534"
"""Nobody, and no group that has anything."""

_BASE_MB: Final = 256
"""Memory of relay, supervisor and guest with all that they have imported, and of the kernel for them."""

_RUNSC_BASE_MB: Final = 768
"""The same with gVisor's kernel and its file server, which are processes like others."""

_BASE_PIDS: Final = 3
"""Relay, supervisor, checkpoint."""

_LEAST_PIDS: Final = 12
"""The threads of runc's last steps are counted too."""

_RUNSC_BASE_PIDS: Final = 512
"""gVisor's kernel has threads and stub processes for its tasks, so that theirs is no exact bound."""

_BASE_FILES: Final = 2048
"""A guest's channel lies above its limit, which is 1000 or what it was given."""

_FILES_IN_TMP: Final = 16384


@dataclass(frozen=True, slots=True)
class Size:
    """What containers differ in, so what a pool must know of a session's limits."""

    memory_mb: int
    tmp_mb: int
    threads: int
    open_files: int
    cpus: float

    @classmethod
    def of(cls, limits: Limits) -> Self:
        """The size that a session with these limits needs."""
        return cls(limits.memory_mb, limits.tmp_mb, limits.threads, limits.open_files, limits.cpus)


def host_options(size: Size, runtime: str | None, cpus: int) -> dict[str, Any]:
    """Arguments of `docker.APIClient.create_host_config`.

    Args:
        size: The session's.
        runtime: None for the engine's own.
        cpus: How many the engine has; it refuses to promise more.
    """
    own_kernel = runtime is not None and RUNSC in runtime
    # A checkpoint may hold as much again as the guest itself.
    memory = 2 * size.memory_mb + size.tmp_mb + (_RUNSC_BASE_MB if own_kernel else _BASE_MB)
    pids = 4 * size.threads + _RUNSC_BASE_PIDS if own_kernel else max(size.threads + _BASE_PIDS, _LEAST_PIDS)
    files = size.open_files + _BASE_FILES
    options: dict[str, Any] = {
        "auto_remove": True,
        "cap_drop": ["ALL"],
        "cgroupns": "private",
        "dns": ["127.0.0.1"],  # else resolv.conf tells the host's servers
        "dns_search": ["."],
        "init": False,
        "ipc_mode": "none",
        "log_config": {"type": "none"},
        "mem_limit": f"{memory}m",
        "memswap_limit": f"{memory}m",
        "nano_cpus": int(min(size.cpus, cpus) * 1e9),
        "network_mode": "none",
        "oom_score_adj": 1000,
        "pids_limit": pids,
        "read_only": True,
        "security_opt": ["no-new-privileges", f"seccomp={seccomp_profile()}"],
        "tmpfs": {"/tmp": f"size={size.tmp_mb}m,nr_inodes={_FILES_IN_TMP},mode=1777,noexec,nosuid,nodev"},  # noqa: S108  the container's own
        "ulimits": [
            {"Name": "core", "Soft": 0, "Hard": 0},
            {"Name": "nofile", "Soft": files, "Hard": files},
        ],
    }
    if runtime is not None:
        options["runtime"] = runtime
    return options

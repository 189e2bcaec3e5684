"""What to do where the kernel refuses a step."""

from __future__ import annotations

import errno
import os
from typing import Final

from maia.sandbox.errors import TierUnavailableError

__all__ = ["unavailable"]

_USER_NAMESPACES: Final = (
    "Allow unprivileged user namespaces: `sudo sysctl -w kernel.unprivileged_userns_clone=1 "
    "user.max_user_namespaces=15000`; on Ubuntu 24.04 and later also "
    "`sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`; in a container use a "
    "seccomp profile that permits unshare and mount."
)
_READABLE: Final = (
    "Sessions of root run as nobody: make the installation readable for all with `chmod -R go+rX`, or run as its "
    "ordinary user."
)
_REMEDIES: Final = (
    ("unshare(user)", _USER_NAMESPACES),
    ("write ", _USER_NAMESPACES),
    (
        "unshare",
        "Raise the limits: `sudo sysctl -w user.max_pid_namespaces=15000 user.max_net_namespaces=15000` and alike.",
    ),
    ("mount_setattr", "Linux 5.12 or later is needed."),
    ("mount", _USER_NAMESPACES),
    ("pivot_root", "The root file system must not be the initial ramfs; start from a real root."),
    ("read ", _READABLE),
    ("landlock", "Linux 5.13 or later is needed, built and booted with Landlock (`lsm=landlock,...`)."),
    ("seccomp filter for", "The filter knows x86_64 and aarch64 only."),
    ("prctl(seccomp", "The kernel must be built with CONFIG_SECCOMP_FILTER."),
    ("setrlimit", "Raise the hard limits of this process: `ulimit -H -a` shows them."),
)


def unavailable(step: str, number: int, tier: str) -> TierUnavailableError:
    """The error for a refused step, with the remedy if one is known."""
    remedy = next((text for start, text in _REMEDIES if step.startswith(start)), "Ask who administers this machine.")
    reason = f"{errno.errorcode.get(number, number)}: {os.strerror(number)}"
    return TierUnavailableError(step, number, reason, remedy, tier)

"""The container's seccomp profile: default deny, with the tables of the guest's own filter.

It holds for everything in the container, from the engine's last step before the first instruction on. The guest then
gives up more, by a second filter; what is here and not there is for the interpreter's start, the relay and the
supervisor.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Iterable
from typing import Final

from maia.sandbox.confinement.syscalls import ALLOWED, CONDITIONAL, NOT_IMPLEMENTED, NOTHING_TO_DO

__all__ = ["seccomp_profile"]

_ENGINE: Final = ("execve", "tgkill", "capget", "epoll_create", "dup3")
"""Between loading the profile and starting the interpreter."""

_GVISORS_NAMES: Final = ("pselect",)
"""What gVisor calls pselect6; nobody else knows a call of that name, and passes over it."""

_TRUSTED: Final = (
    *("capset", "close_range", "seccomp", "setrlimit"),
    *("landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"),
    *("sendmsg", "recvmsg", "sendto", "recvfrom", "shutdown", "getsockname", "getsockopt", "setsockopt"),
    *("kill", "wait4", "waitid", "pidfd_open", "pidfd_send_signal"),
)
"""The relay, the supervisor, and the guest while it gives things up."""

# Every namespace flag of clone(2) must be absent.
_CLONE_NAMESPACES: Final = 0x7E020000
_AF_UNIX: Final = 1
# Of a process itself: parent death signal, dumpable, name, filter, bounding set, subreaper, no_new_privs, ambient set.
_PRCTL_OPTIONS: Final = (1, 3, 4, 15, 16, 22, 23, 24, 36, 37, 38, 39, 47)
# As in the guest's filter, and the four of a seccomp listener: receive, answer, is it still valid, its flags.
_IOCTL_REQUESTS: Final = (0x5401, 0x541B, 0x5421, 0x5450, 0x5451, 0xC0502100, 0xC0182101, 0x40082102, 0x40082104)

_CHECKED: Final = frozenset({"clone", "ioctl", "prctl"})  # the rest of CONDITIONAL as a whole


def seccomp_profile() -> str:
    """The profile as an engine takes it, JSON."""
    allowed = {*ALLOWED, *NOTHING_TO_DO, *CONDITIONAL, *_ENGINE, *_GVISORS_NAMES, *_TRUSTED} - _CHECKED
    rules: list[dict[str, object]] = [
        {"names": sorted(allowed), "action": "SCMP_ACT_ALLOW"},
        {"names": sorted(NOT_IMPLEMENTED), "action": "SCMP_ACT_ERRNO", "errnoRet": errno.ENOSYS},
        {
            "names": ["clone"],
            "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 0, "value": _CLONE_NAMESPACES, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}],
        },
        *_one_of("socketpair", 0, [_AF_UNIX]),
        *_one_of("prctl", 0, _PRCTL_OPTIONS),
        *_one_of("ioctl", 1, _IOCTL_REQUESTS),
    ]
    profile = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": errno.EPERM,
        "archMap": [
            {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": []},
            {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": []},
        ],
        "syscalls": rules,
    }
    return json.dumps(profile, separators=(",", ":"))


def _one_of(name: str, argument: int, values: Iterable[int]) -> list[dict[str, object]]:
    """Rules that allow a call for some values of one argument."""
    return [
        {
            "names": [name],
            "action": "SCMP_ACT_ALLOW",
            "args": [{"index": argument, "value": value, "op": "SCMP_CMP_EQ"}],
        }
        for value in values
    ]

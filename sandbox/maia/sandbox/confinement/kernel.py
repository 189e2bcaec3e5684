"""The Linux calls that Python 3.11 lacks, each raising a StepError that names the step."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
from functools import cache
from typing import Final

__all__ = [
    "StepError",
    "attach_tree",
    "clone_tree",
    "close_range",
    "drop_bounding_capabilities",
    "drop_capabilities",
    "install_listener",
    "install_seccomp",
    "landlock",
    "machine_index",
    "mount",
    "mount_setattr",
    "pivot_root",
    "prctl",
    "sethostname",
    "setns",
    "umount",
    "unshare",
]

CLONE_NEWNS: Final = 0x00020000
CLONE_NEWCGROUP: Final = 0x02000000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000

MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_NOEXEC: Final = 8
MS_BIND: Final = 4096
MS_REC: Final = 16384
MS_PRIVATE: Final = 1 << 18
MNT_DETACH: Final = 2

PR_SET_PDEATHSIG: Final = 1
PR_SET_DUMPABLE: Final = 4
PR_SET_SECCOMP: Final = 22
PR_CAPBSET_DROP: Final = 24
PR_SET_CHILD_SUBREAPER: Final = 36
PR_SET_NO_NEW_PRIVS: Final = 38
PR_CAP_AMBIENT: Final = 47
PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
SECCOMP_MODE_FILTER: Final = 2

_CAPSET: Final = (126, 91)
_PIVOT_ROOT: Final = (155, 41)
_CLOSE_RANGE: Final = (436, 436)
_OPEN_TREE: Final = (428, 428)
_MOVE_MOUNT: Final = (429, 429)
_MOUNT_SETATTR: Final = (442, 442)
_SETHOSTNAME: Final = (170, 161)
_SECCOMP: Final = (317, 277)
LANDLOCK_CREATE_RULESET: Final = (444, 444)
LANDLOCK_ADD_RULE: Final = (445, 445)
LANDLOCK_RESTRICT_SELF: Final = (446, 446)
_MACHINES: Final = {"x86_64": 0, "aarch64": 1}
_LINUX_CAPABILITY_VERSION_3: Final = 0x20080522


class StepError(OSError):
    """The kernel refused one step of isolation.

    Attributes:
        step: For people: "unshare(user)".
    """

    def __init__(self, step: str, number: int) -> None:
        super().__init__(number, os.strerror(number))
        self.step = step


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(step: str, result: int) -> None:
    if result < 0:
        raise StepError(step, ctypes.get_errno())


def machine_index() -> int:
    """0 on x86_64, 1 on aarch64: the column of `syscalls.Numbers`.

    Raises:
        StepError: Another machine; there is no filter for it.
    """
    machine = platform.machine()
    if machine not in _MACHINES:
        raise StepError(f"seccomp filter for {machine}", errno.ENOSYS)
    return _MACHINES[machine]


def _syscall(step: str, numbers: tuple[int, int], *arguments: object) -> int:
    result = int(_libc().syscall(ctypes.c_long(numbers[machine_index()]), *arguments))
    _check(step, result)
    return result


def unshare(flags: int, step: str) -> None:
    """Leave the namespaces that `flags` names for new ones."""
    _check(f"unshare({step})", _libc().unshare(flags))


def setns(descriptor: int, kind: int, step: str) -> None:
    """Enter the namespace behind a descriptor."""
    _check(f"setns({step})", _libc().setns(descriptor, kind))


def mount(source: str | None, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    """Mount, bind or remount."""
    encoded = [None if text is None else os.fsencode(text) for text in (source, target, kind, options)]
    _check(
        f"mount({kind or 'bind'} on {target})",
        _libc().mount(encoded[0], encoded[1], encoded[2], ctypes.c_ulong(flags), encoded[3]),
    )


class _MountAttributes(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "namespace"))


def mount_setattr(target: str, attributes: int, *, recursive: bool) -> None:
    """Add attributes to a mount, or to it and all below. Linux 5.12 or later."""
    change = _MountAttributes(attributes, 0, 0, 0)
    size = ctypes.c_size_t(ctypes.sizeof(change))
    at_fdcwd, at_recursive = -100, 0x8000
    flags = at_recursive if recursive else 0
    _syscall(
        f"mount_setattr({target})", _MOUNT_SETATTR, at_fdcwd, os.fsencode(target), flags, ctypes.byref(change), size
    )


def clone_tree(path: str) -> int:
    """A detached copy of what is mounted at a path and below, as a descriptor. Linux 5.2 or later."""
    at_fdcwd, at_recursive, open_tree_clone = -100, 0x8000, 1
    flags = ctypes.c_uint(open_tree_clone | os.O_CLOEXEC | at_recursive)
    return _syscall(f"open_tree({path})", _OPEN_TREE, at_fdcwd, os.fsencode(path), flags)


def attach_tree(tree: int, path: str) -> None:
    """Mount a detached copy."""
    at_fdcwd, from_empty_path = -100, 4
    _syscall(f"move_mount({path})", _MOVE_MOUNT, tree, b"", at_fdcwd, os.fsencode(path), ctypes.c_uint(from_empty_path))


def close_range(first: int, last: int | None) -> None:
    """Close all descriptors from one to another, or to the highest.

    `os.closerange` tries each where Python was built for an old C library.
    """
    highest = 0x7FFFFFFF if last is None else last  # gVisor takes no more
    if first <= highest:
        _syscall("close_range", _CLOSE_RANGE, ctypes.c_uint(first), ctypes.c_uint(highest), ctypes.c_uint(0))


def umount(target: str) -> None:
    """Detach a mount, at once for everyone who looks and for good when its last user goes."""
    _check(f"umount({target})", _libc().umount2(os.fsencode(target), MNT_DETACH))


def pivot_root(new_root: str, put_old: str) -> None:
    """Make `new_root` the root and hang the old one below it."""
    _syscall("pivot_root", _PIVOT_ROOT, os.fsencode(new_root), os.fsencode(put_old))


def sethostname(name: bytes) -> None:
    """Name the UTS namespace's host."""
    _syscall("sethostname", _SETHOSTNAME, name, ctypes.c_size_t(len(name)))


def prctl(step: str, option: int, second: int = 0, third: int = 0) -> None:
    """Set one attribute of the process."""
    arguments = [ctypes.c_ulong(number) for number in (second, third, 0, 0)]
    _check(f"prctl({step})", _libc().prctl(option, *arguments))


def drop_bounding_capabilities() -> None:
    """Let nothing that this process executes or becomes have any capability."""
    try:
        prctl("clear ambient capabilities", PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    except StepError as error:
        if error.errno != errno.EINVAL:  # gVisor has none
            raise
    for capability in range(64):
        try:
            prctl("drop bounding capability", PR_CAPBSET_DROP, capability)
        except StepError as error:
            if error.errno == errno.EINVAL and capability > 0:  # the kernel knows no more
                break
            if error.errno == errno.EPERM:  # who has no capabilities may not do this either, nor gain any
                break
            raise


def drop_capabilities() -> None:
    """Empty the bounding, ambient, inheritable, permitted and effective sets."""
    drop_bounding_capabilities()
    header = (ctypes.c_uint32 * 2)(_LINUX_CAPABILITY_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)()
    _syscall("capset", _CAPSET, header, data)


class _SeccompProgram(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def install_seccomp(program: bytes) -> None:
    """Load a BPF program as this thread's system call filter, for good.

    Args:
        program: Eight bytes an instruction, as `filter.assemble` makes them.
    """
    loaded = _SeccompProgram(len(program) // 8, program)
    _check(
        "prctl(seccomp filter)",
        _libc().prctl(PR_SET_SECCOMP, ctypes.c_ulong(SECCOMP_MODE_FILTER), ctypes.byref(loaded), None, None),
    )


def install_listener(program: bytes) -> int:
    """Load a filter whose notices go to a listener. Linux 5.5 or later.

    Returns:
        The listener's descriptor.
    """
    set_mode_filter, new_listener = 1, 8
    loaded = _SeccompProgram(len(program) // 8, program)
    step = "seccomp(new listener)"
    return _syscall(step, _SECCOMP, set_mode_filter, ctypes.c_uint(new_listener), ctypes.byref(loaded))


def landlock(step: str, numbers: tuple[int, int], *arguments: object) -> int:
    """One of the three landlock_* calls; `maia.sandbox.confinement.landlock` knows their arguments."""
    return _syscall(step, numbers, *arguments)

"""Landlock: what a process may open, connect to and signal, given up for good (landlock(7)).

Beside a jail's root it is a second lock; where there are no namespaces it is the first.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
from collections.abc import Iterable
from typing import Final

from maia.sandbox.confinement import kernel

__all__ = ["restrict", "supported_abi"]

# Rights by the version of the ABI that brought them, as bits of LANDLOCK_ACCESS_FS_*.
_FILE_SYSTEM: Final = ((1, 13), (2, 1), (3, 1), (5, 1))  # (ABI, how many more): refer, truncate, ioctl on devices
_NET_TCP: Final = 0b11  # bind and connect, ABI 4
_SCOPES: Final = 0b11  # abstract sockets and signals, ABI 6

_WRITE_FILE: Final = 1 << 1
_READ_FILE: Final = 1 << 2
_READ_DIR: Final = 1 << 3
_REMOVE_DIR: Final = 1 << 4
_REMOVE_FILE: Final = 1 << 5
_MAKE_DIR: Final = 1 << 7
_MAKE_REG: Final = 1 << 8
_REFER: Final = 1 << 13
_TRUNCATE: Final = 1 << 14

_READ: Final = _READ_FILE | _READ_DIR
_OF_FILES: Final = _READ_FILE | _WRITE_FILE | _TRUNCATE
# Regular files and directories only: no links, no sockets, no pipes, no devices. Nothing may be executed anywhere.
_WRITE: Final = _READ | _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _REFER | _TRUNCATE

_CREATE_VERSION: Final = 1
_RULE_PATH_BENEATH: Final = 1


class _Ruleset(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint64) for name in ("file_system", "net", "scopes"))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def supported_abi() -> int:
    """Version of the kernel's Landlock; 0 without one."""
    try:
        return kernel.landlock(
            "landlock version", kernel.LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint(_CREATE_VERSION)
        )
    except kernel.StepError as error:
        if error.errno in (errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM):  # not built in, not booted with, filtered
            return 0
        raise


def restrict(readable: Iterable[str], writable: Iterable[str], listable: Iterable[str]) -> int:
    """Give up, for good, all files but these, all of TCP, and signals to and abstract sockets of other processes.

    Needs no_new_privs.

    Args:
        readable: Files and directories with all below; those that do not exist are skipped.
        listable: Directories whose names may be read, there and below.
        writable: The same, to create, change and remove regular files and directories in.

    Returns:
        The version of the ABI in force; 0 without Landlock, and then nothing is given up.

    Raises:
        StepError: The kernel has Landlock and refuses.
    """
    abi = supported_abi()
    if abi == 0:
        return 0
    handled = (1 << sum(more for since, more in _FILE_SYSTEM if since <= abi)) - 1
    rules = _Ruleset(handled, _NET_TCP if abi >= 4 else 0, _SCOPES if abi >= 6 else 0)
    size = ctypes.c_size_t(8 if abi < 4 else 16 if abi < 6 else 24)
    ruleset = kernel.landlock(
        "landlock ruleset", kernel.LANDLOCK_CREATE_RULESET, ctypes.byref(rules), size, ctypes.c_uint(0)
    )
    try:
        for paths, rights in ((readable, _READ), (writable, _WRITE), (listable, _READ_DIR)):
            for path in paths:
                _allow(ruleset, path, rights & handled)
        kernel.landlock("landlock restrict", kernel.LANDLOCK_RESTRICT_SELF, ruleset, ctypes.c_uint(0))
    finally:
        os.close(ruleset)
    return abi


def _allow(ruleset: int, path: str, rights: int) -> None:
    with contextlib.suppress(FileNotFoundError):
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            if not stat.S_ISDIR(os.fstat(place).st_mode):
                rights &= _OF_FILES
            rule = _PathBeneath(rights, place)
            kernel.landlock(
                f"landlock rule for {path}",
                kernel.LANDLOCK_ADD_RULE,
                ruleset,
                ctypes.c_int(_RULE_PATH_BENEATH),
                ctypes.byref(rule),
                ctypes.c_uint(0),
            )
        finally:
            os.close(place)

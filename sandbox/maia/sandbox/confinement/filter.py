"""The seccomp filter: default deny, assembled here so that no library is needed on a user's machine.

A small assembler for the classic BPF that seccomp takes. Labels are resolved backwards, since BPF only jumps forward; a
jump spans at most 255 instructions, so every rule ends in its own return.
"""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING, Final

from maia.sandbox.confinement.syscalls import ALLOWED, CONDITIONAL, KILLED, NOT_IMPLEMENTED, NOTHING_TO_DO

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["assemble", "assemble_fork_notice"]

_LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_AT_LEAST: Final = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_ANY_BIT: Final = 0x45  # BPF_JMP | BPF_JSET | BPF_K
_RETURN: Final = 0x06  # BPF_RET | BPF_K

_NUMBER: Final = 0
_ARCHITECTURE: Final = 4
_ARGUMENTS: Final = 16

_KILL_PROCESS: Final = 0x80000000
_ERRNO: Final = 0x00050000
_USER_NOTICE: Final = 0x7FC00000
_ALLOW: Final = 0x7FFF0000
_DENY: Final = _ERRNO | errno.EPERM

_AUDIT_ARCH: Final = (0xC000003E, 0xC00000B7)
_X32_BIT: Final = 0x40000000

# What pthread_create passes, in glibc and in musl: a thread of this process and nothing else.
_THREAD_FLAGS: Final = (0x003D0F00, 0x007D0F00)
# What fork passes, in glibc (which wants the child's thread id kept) and in musl.
_FORK_FLAGS: Final = (0x01200011, 0x00000011)
# The clocks of this machine and of this process; not those of other processes, which have negative numbers.
_CLOCKS: Final = range(12)
# Within this process anything; beyond it waiting only, as pthread_join does for the kernel to wake it. Waking others
# would let two sessions talk over a file that both see.
_FUTEX_OPERATIONS: Final = (*(flags | number for flags in (128, 384) for number in range(14)), 0, 9, 265)
# Descriptor flags, status flags, duplicates; not locks, owners, leases, notifications or pipe sizes.
_FCNTL_COMMANDS: Final = (0, 1, 2, 3, 4, 1030)
# Is it a terminal (TCGETS), bytes to read, non-blocking, close on exec and its opposite.
_IOCTL_REQUESTS: Final = (0x5401, 0x541B, 0x5421, 0x5450, 0x5451)
# How memory will be used, giving it back, huge pages, guard pages: not merging it with other processes' (KSM), nor
# pushing pages out that others share.
_MADVICE: Final = (0, 1, 2, 3, 4, 8, 14, 15, 102, 103)
# Past the page cache: reads would make the host's disk work, for hardly any time of the guest's.
_O_DIRECT: Final = (0x4000, 0x10000)
# On the host's disk, a file that runs as its owner would outlast the session's confinement.
_SET_ID_BITS: Final = 0o6000
_F_SETFL: Final = 4
# PR_GET_DUMPABLE, PR_SET_NAME, PR_GET_NAME.
_PRCTL_OPTIONS: Final = (3, 15, 16)


def _instruction(code: int, operand: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, operand)


def _return(verdict: int) -> bytes:
    return _instruction(_RETURN, verdict)


def _load(offset: int) -> bytes:
    return _instruction(_LOAD, offset)


def _low(argument: int) -> int:
    """Offset of an argument's low half; both machines are little-endian."""
    return _ARGUMENTS + 8 * argument


def _when(number: int | None, body: bytes) -> bytes:
    """Run `body`, which returns, for this system call, and go on to the next rule for any other."""
    if number is None:
        return b""
    return _instruction(_EQUAL, number, 0, len(body) // 8) + body


def _argument_in(argument: int, values: Iterable[int]) -> bytes:
    """Allow if the low half of an argument is one of `values` and its high half is zero, else deny."""
    body = _load(_low(argument) + 4) + _instruction(_EQUAL, 0, 1, 0) + _return(_DENY) + _load(_low(argument))
    for value in values:
        body += _instruction(_EQUAL, value, 0, 1) + _return(_ALLOW)
    return body + _return(_DENY)


def _opens(flags: int, mode: int, machine: int) -> bytes:
    """Files as they are read and written; not directly, nor with a mode that gives away an identity."""
    body = b""
    for argument, bits in ((flags, _O_DIRECT[machine]), (mode, _SET_ID_BITS)):
        body += _load(_low(argument)) + _instruction(_ANY_BIT, bits, 0, 1) + _return(_DENY)
    return body + _return(_ALLOW)


def _controls_descriptors(machine: int) -> bytes:
    """fcntl(descriptor, command, argument): a few commands, and not F_SETFL with O_DIRECT."""
    direct = _load(_low(2)) + _instruction(_ANY_BIT, _O_DIRECT[machine], 0, 1) + _return(_DENY)
    body = _load(_low(1)) + _instruction(_EQUAL, _F_SETFL, 0, len(direct) // 8) + direct
    return body + _argument_in(1, _FCNTL_COMMANDS)


def _reads_own_limits() -> bytes:
    """prlimit64(0, resource, NULL, ...): process and new limit both zero."""
    body = b""
    for argument in (0, 2):
        for half in (0, 4):
            body += _load(_low(argument) + half) + _instruction(_EQUAL, 0, 1, 0) + _return(_DENY)
    return body + _return(_ALLOW)


def assemble_fork_notice(machine: int) -> bytes:
    """Build the filter that lets the supervisor decide about each fork, and passes all else on to the next filter.

    A thread of the forking process cannot change what the supervisor decides about: the flags are in a register.

    Args:
        machine: 0 for x86_64, 1 for aarch64.
    """
    body = _load(_low(0))
    for flags in _FORK_FLAGS:
        body += _instruction(_EQUAL, flags, 0, 1) + _return(_USER_NOTICE)
    return _load(_NUMBER) + _when(CONDITIONAL["clone"][machine], body + _return(_ALLOW)) + _return(_ALLOW)


def assemble(machine: int, *, forks: bool = False) -> bytes:
    """Build the filter.

    Args:
        machine: 0 for x86_64, 1 for aarch64.
        forks: Allow what `assemble_fork_notice` asks the supervisor about; together with that filter only.

    Returns:
        The program, eight bytes an instruction: kill for a foreign architecture (x32 included) and for calls without an
        innocent use, success without effect, ENOSYS or EPERM for the rest of what is not allowed.
    """
    rules = {
        "clock_getres": _argument_in(0, _CLOCKS),
        "clock_gettime": _argument_in(0, _CLOCKS),
        "clock_nanosleep": _argument_in(0, _CLOCKS),
        "futex": _argument_in(1, _FUTEX_OPERATIONS),
        "getpgid": _argument_in(0, (0,)),
        "getsid": _argument_in(0, (0,)),
        "sched_getaffinity": _argument_in(0, (0,)),
        "clone": _argument_in(0, _THREAD_FLAGS + (_FORK_FLAGS if forks else ())),
        "open": _opens(1, 2, machine),
        "openat": _opens(2, 3, machine),
        "fcntl": _controls_descriptors(machine),
        "ioctl": _argument_in(1, _IOCTL_REQUESTS),
        "madvise": _argument_in(2, _MADVICE),
        "prctl": _argument_in(0, _PRCTL_OPTIONS),
        "prlimit64": _reads_own_limits(),
    }
    program = _load(_ARCHITECTURE) + _instruction(_EQUAL, _AUDIT_ARCH[machine], 1, 0) + _return(_KILL_PROCESS)
    program += _load(_NUMBER) + _instruction(_AT_LEAST, _X32_BIT, 0, 1) + _return(_KILL_PROCESS)
    for numbers in ALLOWED.values():
        program += _when(numbers[machine], _return(_ALLOW))
    for name, numbers in CONDITIONAL.items():
        program += _when(numbers[machine], rules[name])
    for numbers in NOTHING_TO_DO.values():
        program += _when(numbers[machine], _return(_ERRNO))
    for numbers in NOT_IMPLEMENTED.values():
        program += _when(numbers[machine], _return(_ERRNO | errno.ENOSYS))
    for numbers in KILLED.values():
        program += _when(numbers[machine], _return(_KILL_PROCESS))
    return program + _return(_DENY)

"""The seccomp filter, run by a small interpreter of classic BPF, for both machines."""

from __future__ import annotations

import errno
import struct

import pytest

from maia.sandbox.confinement.filter import assemble
from maia.sandbox.confinement.syscalls import ALLOWED, CONDITIONAL, KILLED, NOT_IMPLEMENTED, NOTHING_TO_DO

ARCHITECTURES = (0xC000003E, 0xC00000B7)
ALLOW, KILL, DENY, NO_SUCH_CALL = 0x7FFF0000, 0x80000000, 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS
DONE = 0x50000  # an errno of 0 is success

TABLES = (ALLOWED, CONDITIONAL, KILLED, NOT_IMPLEMENTED, NOTHING_TO_DO)


def verdict(machine: int, number: int, *arguments: int, architecture: int | None = None) -> int:
    padded = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("<IIQ6Q", number, ARCHITECTURES[machine] if architecture is None else architecture, 0, *padded)
    program = list(struct.iter_unpack("=HBBI", assemble(machine)))
    position = accumulator = 0
    while True:
        code, if_true, if_false, operand = program[position]
        position += 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, operand)
        elif code == 0x15:
            position += if_true if accumulator == operand else if_false
        elif code == 0x35:
            position += if_true if accumulator >= operand else if_false
        elif code == 0x45:
            position += if_true if accumulator & operand else if_false
        else:
            assert code == 0x06
            return int(operand)


@pytest.mark.parametrize("machine", [0, 1])
def test_each_table_has_its_verdict(machine: int) -> None:
    verdicts = ((ALLOWED, ALLOW), (KILLED, KILL), (NOT_IMPLEMENTED, NO_SUCH_CALL), (NOTHING_TO_DO, DONE))
    for table, expected in verdicts:
        for name, numbers in table.items():
            if (number := numbers[machine]) is not None:
                assert verdict(machine, number) == expected, name


@pytest.mark.parametrize("machine", [0, 1])
def test_every_other_number_is_denied(machine: int) -> None:
    known = {numbers[machine] for table in TABLES for numbers in table.values()}
    for number in set(range(600)) - known:
        assert verdict(machine, number) == DENY, number


@pytest.mark.parametrize("machine", [0, 1])
def test_foreign_architectures_and_x32_are_killed(machine: int) -> None:
    read = ALLOWED["read"][machine]
    assert read is not None
    assert verdict(machine, read, architecture=ARCHITECTURES[1 - machine]) == KILL
    assert verdict(machine, read, architecture=0x40000003) == KILL  # i386
    assert verdict(machine, read | 0x40000000) == KILL


@pytest.mark.parametrize("machine", [0, 1])
@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("clone", (0x3D0F00,), ALLOW),
        ("clone", (0x7D0F00,), ALLOW),
        ("clone", (17,), DENY),
        ("clone", (0x01200011,), DENY),
        ("clone", (0x3D0F00 | 0x10000000,), DENY),
        ("clone", (0x3D0F00 | 1 << 32,), DENY),
        ("ioctl", (0, 0x5401), ALLOW),
        ("ioctl", (0, 0x5412), DENY),  # TIOCSTI types into a terminal
        ("ioctl", (0, 0x5401 | 1 << 32), DENY),
        ("fcntl", (0, 3), ALLOW),
        ("fcntl", (0, 6), DENY),  # F_SETLK locks files that others share
        ("fcntl", (0, 4, 0x800), ALLOW),  # O_NONBLOCK
        ("openat", (0, 0, 0o102, 0o777), ALLOW),
        ("openat", (0, 0, 0o102, 0o4700), DENY),  # a file that runs as its owner
        ("openat", (0, 0, 0o102, 0o2700), DENY),
        ("madvise", (0, 0, 4), ALLOW),
        ("madvise", (0, 0, 12), DENY),  # MADV_MERGEABLE
        ("madvise", (0, 0, 21), DENY),  # MADV_PAGEOUT
        ("fcntl", (0, 8), DENY),  # F_SETOWN sends signals
        ("fcntl", (0, 1033), DENY),  # F_ADD_SEALS
        ("prctl", (15,), ALLOW),
        ("prctl", (4, 1), DENY),
        ("prlimit64", (0, 7, 0, 0x7FFF0000), ALLOW),
        ("prlimit64", (0, 7, 0x7FFF0000, 0), DENY),
        ("prlimit64", (0, 7, 1 << 40, 0), DENY),
        ("prlimit64", (1, 7, 0, 0), DENY),
    ],
)
def test_some_calls_are_allowed_for_some_arguments(
    machine: int, name: str, arguments: tuple[int, ...], expected: int
) -> None:
    number = CONDITIONAL[name][machine]
    assert number is not None
    assert verdict(machine, number, *arguments) == expected


@pytest.mark.parametrize(("machine", "direct"), [(0, 0x4000), (1, 0x10000)])
def test_nothing_is_read_past_the_page_cache(machine: int, direct: int) -> None:
    calls = {"open": (0, direct), "openat": (0, 0, direct), "fcntl": (0, 4, direct)}
    for name, arguments in calls.items():
        if (number := CONDITIONAL[name][machine]) is not None:
            assert verdict(machine, number, *arguments) == DENY, name
            assert verdict(machine, number, *arguments[:-1], arguments[-1] >> 1) == ALLOW, name


@pytest.mark.parametrize("machine", [0, 1])
def test_no_call_is_in_two_tables_and_the_program_is_within_the_kernels_bound(machine: int) -> None:
    numbers = [value for table in TABLES for pair in table.values() if (value := pair[machine]) is not None]
    assert len(numbers) == len(set(numbers))
    assert len(assemble(machine)) // 8 <= 4096


@pytest.mark.parametrize("machine", [0, 1])
def test_other_processes_are_not_named(machine: int) -> None:
    def asked(name: str, *arguments: int) -> int:
        number = CONDITIONAL[name][machine]
        assert number is not None
        return verdict(machine, number, *arguments)

    another_processs_clock = (~1234 << 3 | 2) & 0xFFFFFFFF
    for name in ("clock_gettime", "clock_getres", "clock_nanosleep"):
        assert asked(name, 1) == ALLOW
        assert asked(name, another_processs_clock) == DENY
    for name in ("getpgid", "getsid", "sched_getaffinity"):
        assert asked(name, 0) == ALLOW
        assert asked(name, 1) == DENY
    wait, wake, private, realtime = 0, 1, 128, 256
    for operation in (wait, wait | private, wake | private, 9 | realtime, 9 | realtime | private):
        assert asked("futex", 0, operation) == ALLOW
    for operation in (wake, 3, 4, 10):  # wake, requeue, requeue and compare, wake a set
        assert asked("futex", 0, operation) == DENY

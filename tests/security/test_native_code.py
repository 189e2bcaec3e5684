"""Attacks by native code: system calls without the C library, foreign calling conventions, machine code.

The guest's own seccomp filter is the same program in every tier; tests/unit/sandbox/confinement/test_filter.py compares
what it says of each call with the kernel's headers.
"""

from __future__ import annotations

import pytest
from tests.security.attack import LIMITS, NATIVE, Tier, each
from tests.security.conftest import Attack
from tests.security.system_calls import DENIED, FATAL, MACHINE

from maia.sandbox import Host

pytestmark = pytest.mark.asyncio(loop_scope="session")

x86_only = pytest.mark.skipif(MACHINE != 0, reason="calling conventions and machine code of x86_64")
SAMPLE = ("ptrace", "bpf", "io_uring_setup")


@pytest.mark.parametrize("name", FATAL)
async def test_a_system_call_without_innocent_use_ends_the_process(attack: Attack, tier: Tier, name: str) -> None:
    if tier.container and name not in SAMPLE:
        pytest.skip("each costs a container; the filter is the one that the jail shows in full")
    async with attack(f"syscall({name!r}, 0, 0, 0, 0, 0, 0)\nprint('went on')", native=True) as result:
        assert "went on" not in result.output
        assert result.status in ("killed", "policy"), result.message


@pytest.mark.parametrize("name", DENIED)
async def test_a_system_call_that_no_guest_needs_is_refused(attack: Attack, name: str) -> None:
    async with attack(f"print(syscall({name!r}, 0, 0, 0, 0, 0, 0))", native=True) as result:
        assert result.said("EPERM\n"), (result.status, result.output)


NARROW = {
    "a process in place of a thread": "syscall('clone', 17, 0, 0, 0, 0)",
    "a process that shares memory": "syscall('clone', 0x111, 0, 0, 0, 0)",
    "a process that its parent waits for": "syscall('clone', 0x4111, 0, 0, 0, 0)",
    "a process in a user namespace of its own": "syscall('clone', 0x10000011, 0, 0, 0, 0)",
    "a thread in a user namespace of its own": "syscall('clone', 0x10010000 | 0x3d0f00, 0, 0, 0, 0)",
    "a thread that is traced by its parent's tracer": "syscall('clone', 0x3d0f00 | 0x2000, 0, 0, 0, 0)",
    "a thread with flags above the 32nd bit": "syscall('clone', 0x3d0f00 | 1 << 33, 0, 0, 0, 0)",
    "a process with flags above the 32nd bit": "syscall('clone', 0x01200011 | 1 << 32, 0, 0, 0, 0)",
    "a lock on a file": "syscall('fcntl', 0, 6, ctypes.create_string_buffer(64))",
    "a lease on a file": "syscall('fcntl', 0, 1024, 0)",
    "signals when a directory changes": "syscall('fcntl', 0, 1026, 1)",
    "another owner of a descriptor's signals": "syscall('fcntl', 0, 8, 1)",
    "another signal of a descriptor": "syscall('fcntl', 0, 10, 9)",
    "a larger pipe": "syscall('fcntl', 1, 1031, 1 << 20)",
    "seals on a file": "syscall('fcntl', 0, 1033, 1)",
    "a command of fcntl above the 32nd bit": "syscall('fcntl', 0, 1 | 1 << 32, 0)",
    "input in another's terminal": "syscall('ioctl', 0, 0x5412, ctypes.create_string_buffer(b'x'))",
    "the console's keyboard": "syscall('ioctl', 0, 0x541c, ctypes.create_string_buffer(b'\\x03'))",
    "a terminal of its own": "syscall('ioctl', 0, 0x540e, 0)",
    "signals for another process": "syscall('ioctl', 0, 0x8901, ctypes.create_string_buffer(8))",
    "the flags of a file": "syscall('ioctl', 0, 0x40086602, ctypes.create_string_buffer(8))",
    "a copy-on-write copy of another file": "syscall('ioctl', 0, 0x40049409, 1)",
    "pages that are merged with other processes'": "syscall('madvise', 0, 4096, 12)",
    "pages that are pushed out": "syscall('madvise', 0, 4096, 21)",
    "pages that are poisoned": "syscall('madvise', 0, 4096, 100)",
    "another parent death signal": "syscall('prctl', 1, 9, 0, 0, 0)",
    "being dumpable again": "syscall('prctl', 4, 1, 0, 0, 0)",
    "capabilities kept over a change of user": "syscall('prctl', 8, 1, 0, 0, 0)",
    "a seccomp filter of its own": "syscall('prctl', 22, 2, ctypes.create_string_buffer(64), 0, 0)",
    "a capability back in the bounding set": "syscall('prctl', 24, 21, 0, 0, 0)",
    "another secure mode": "syscall('prctl', 28, 0, 0, 0, 0)",
    "addresses of its own memory map": "syscall('prctl', 35, 1, 4096, 0, 0)",
    "orphans that come to it": "syscall('prctl', 36, 1, 0, 0, 0)",
    "speculation without bounds": "syscall('prctl', 53, 0, 2, 0, 0)",
    "a dispatcher of system calls": "syscall('prctl', 59, 1, 0, 0, 0)",
    "another tracer": "syscall('prctl', 0x59616d61, -1, 0, 0, 0)",
    "another limit of its own": "syscall('prlimit64', 0, 7, ctypes.create_string_buffer(b'\\xff' * 16), 0)",
    "the limits of another process": "syscall('prlimit64', 1, 7, 0, ctypes.create_string_buffer(16))",
}


@each("call", NARROW)
async def test_a_system_call_that_guests_need_does_no_more_than_they_need(attack: Attack, call: str) -> None:
    async with attack(f"print({call})", native=True) as result:
        assert result.said("EPERM\n"), (result.status, result.output)


async def test_calls_that_would_get_around_the_filter_seem_not_to_exist(attack: Attack) -> None:
    code = """
block = ctypes.create_string_buffer(88)
print(syscall('clone3', block, 88), syscall('openat2', -100, block, block, 24))
"""
    async with attack(code, native=True) as result:
        assert result.said("ENOSYS ENOSYS\n")


async def test_what_makes_the_hosts_disk_work_is_not_done(attack: Attack) -> None:
    code = (
        "file = open(statistics.__file__)\nprint(syscall('fsync', file.fileno()), syscall('fdatasync', file.fileno()))"
    )
    async with attack(code, native=True) as result:
        assert result.said("0 0\n")


@x86_only
async def test_a_number_with_high_bits_is_the_number_below_them(attack: Attack) -> None:
    code = "print(syscall((1 << 32) + NUMBERS['socket'], 1, 1, 0), syscall((1 << 63) + NUMBERS['kill'], 1, 9))"
    async with attack(code, native=True) as result:
        assert result.said("EPERM EPERM\n")


MACHINE_CODE = {
    "the 32-bit gate": "b814000000cd80c3",  # getpid
    "the 32-bit gate with a call that is allowed under this number": "b801000000cd80c3",
    "the 32-bit gate with the number of a socket": "b829000000cd80c3",
    "the number of the x32 interface": "b8270000400f05c3",  # getpid
    "the fast 32-bit entry": "b8140000000f34c3",
}


@x86_only
@each("code", MACHINE_CODE)
async def test_a_foreign_calling_convention_ends_the_process(attack: Attack, tier: Tier, code: str) -> None:
    """Old gVisor takes the 32-bit gate for the other one, and the guest's filter checks the call all the same."""
    async with attack(f"print('went on', machine_code({code!r})())", native=True) as result:
        if not tier.own_kernel:
            assert "went on" not in result.output
        assert result.output in ("", "went on -1\n", "went on -9\n")  # EPERM for a socket, EBADF for a write to nowhere
        assert result.status in ("killed", "policy") or tier.own_kernel


INSTRUCTIONS = {
    # mov edi, 2; mov esi, 1; xor edx, edx; mov eax, 41; syscall; ret
    "makes a socket": ("bf02000000be0100000031d2b8290000000f05c3", -1),
    # mov edi, 1; mov esi, 9; mov eax, 62; syscall; ret
    "kills the process that started it": ("bf01000000be09000000b83e0000000f05c3", -1),
    # mov eax, 57; syscall; ret
    "forks": ("b8390000000f05c3", -1),
    # xor edi, edi; mov eax, 105; syscall; ret
    "becomes root": ("31ffb8690000000f05c3", -1),
}


@x86_only
@each("case", INSTRUCTIONS)
async def test_machine_code_with_a_system_call_of_its_own_is_refused(attack: Attack, case: tuple[str, int]) -> None:
    code, answer = case
    async with attack(f"print(machine_code({code!r})())", native=True) as result:
        assert result.said(f"{answer}\n"), (result.status, result.output)


PRIVILEGED = {
    "halting the processor": "f4c3",
    "disabling interrupts": "fac3",
    "reading an input port": "e460c3",
    "reading a model-specific register": "0f32c3",
    "loading a descriptor table": "0f0118c3",
    "writing a control register": "0f22c0c3",
    "an undefined instruction": "0f0bc3",
    "a breakpoint": "ccc3",
}


@x86_only
@each("code", PRIVILEGED)
async def test_an_instruction_of_the_kernels_ends_the_process_and_nothing_else(
    attack: Attack, code: str, tier: Tier
) -> None:
    if tier.container and code not in PRIVILEGED["halting the processor"]:
        pytest.skip("each costs a container; the processor is the same")
    async with attack(f"print('went on', machine_code({code!r})())", native=True) as result:
        assert "went on" not in result.output
        assert result.status in ("killed", "policy")


@x86_only
async def test_the_page_of_old_system_calls_answers_only_what_is_allowed(attack: Attack) -> None:
    code = "page = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_void_p)(0xffffffffff600400)\nprint('time', page(None) > 0)"
    async with attack(code, native=True, fresh=True) as result:
        assert result.said("time True\n") or result.status == "killed"  # as the kernel was started


async def test_writing_over_the_c_library_changes_this_guests_copy_only(
    attack: Attack, host: Host, policy: str
) -> None:
    code = """
place = ctypes.cast(libc.getppid, ctypes.c_void_p).value
page = place & ~4095
assert libc.mprotect(ctypes.c_void_p(page), 8192, 7) == 0
ctypes.memmove(place, bytes.fromhex('b839050000c3'), 6)
print(libc.getppid())
"""
    async with attack(code, native=True, fresh=True) as result:
        if MACHINE == 0:
            assert result.said("1337\n"), result.message
        async with await host.open(policy="off", limits=LIMITS) as other:
            assert (await other.run("import os\nprint(os.getppid())")).output != "1337\n"


async def test_a_shared_file_cannot_be_written_through_a_mapping(attack: Attack) -> None:
    code = """
file = os.open(statistics.__file__, os.O_RDONLY)
try:
    mmap.mmap(file, 4096, access=mmap.ACCESS_WRITE)
    print('mapped')
except PermissionError:
    print('refused')
libc.mmap.restype = ctypes.c_void_p
address = libc.mmap(None, ctypes.c_size_t(4096), 1, 1, file, ctypes.c_long(0))
print(libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(4096), 3), errno.errorcode[ctypes.get_errno()])
"""
    async with attack(code, native=True) as result:
        assert result.said("refused\n-1 EACCES\n"), (result.output, result.message)


async def test_a_filter_of_its_own_cannot_be_laid_over_the_guests(attack: Attack) -> None:
    """A filter that allows everything would change nothing anyway: the kernel takes the strictest verdict."""
    code = """
allow = (ctypes.c_uint64 * 1)(0x7fff000000000006)
program = (ctypes.c_uint64 * 2)(1, ctypes.addressof(allow))
print(syscall('prctl', 22, 2, ctypes.addressof(program), 0, 0), syscall('seccomp', 1, 0, ctypes.addressof(program)))
print(syscall('socket', 2, 1, 0))
"""
    async with attack(code, native=True) as result:
        assert result.said("EPERM EPERM\nEPERM\n")


async def test_the_words_of_native_attacks_work(host: Host) -> None:
    """So that a refusal above is the kernel's and not a mistake of ours."""
    code = "print(syscall('getuid') == os.getuid(), syscall('lseek', -1, 0, 0))"
    works = "print(machine_code('b82a000000c3')())" if MACHINE == 0 else "print(42)"
    async with await host.open(policy="off", limits=LIMITS) as session:
        assert (await session.run(f"{NATIVE}{code}\n{works}")).output == "True EBADF\n42\n"

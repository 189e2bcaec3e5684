# ruff: noqa: ASYNC240  files are looked at between attacks, when nothing else runs
"""Attacks on processes: the host's, other sessions', new ones; and on what a process may become."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from maia.sandbox import Host
from maia.sandbox.confinement.kernel import machine_index
from maia.sandbox.confinement.syscalls import KILLED, Numbers

pytestmark = pytest.mark.asyncio(loop_scope="session")

MACHINE = machine_index()


def available(numbers: Numbers) -> dict[str, int]:
    return {name: number for name, by_machine in numbers.items() if (number := by_machine[MACHINE]) is not None}


@pytest.fixture
def victim() -> Any:
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


@pytest.mark.parametrize(
    "blow",
    [
        "os.kill({pid}, 9)",
        "os.kill(-1, 9)",
        "os.killpg(0, 9)",
        "os.killpg({pid}, 15)",
        "print(syscall(200 if os.uname().machine == 'x86_64' else 130, {pid}, 9))",  # tkill
        "print(syscall(234 if os.uname().machine == 'x86_64' else 131, {pid}, {pid}, 9))",  # tgkill
        "import signal\nsignal.pidfd_send_signal(os.pidfd_open({pid}), 9)",
        "print(libc.ptrace(16, {pid}, 0, 0))",
        "print(libc.process_vm_readv({pid}, 0, 0, 0, 0, 0))",
        "os.setpriority(os.PRIO_PROCESS, {pid}, 19)",
        "import resource\nresource.prlimit({pid}, resource.RLIMIT_CPU, (0, 0))",
        "os.sched_setaffinity({pid}, [0])",
    ],
)
async def test_a_process_of_the_host_cannot_be_touched(attack: Any, victim: Any, blow: str) -> None:
    priority = os.getpriority(os.PRIO_PROCESS, victim.pid)
    affinity = os.sched_getaffinity(victim.pid)
    async with attack(blow.format(pid=victim.pid), native=True) as result:
        assert result.status in ("exception", "policy", "killed", "ok")
    assert victim.poll() is None
    assert os.getpriority(os.PRIO_PROCESS, victim.pid) == priority
    assert os.sched_getaffinity(victim.pid) == affinity


async def test_the_parent_cannot_be_reached(attack: Any) -> None:
    async with attack("print(os.getpid(), os.getppid())\nos.kill(os.getppid(), 9)", native=True) as result:
        assert result.output in ("", "1 0\n")


@pytest.mark.parametrize(
    "birth",
    [
        "print('born', os.fork())",
        "assert libc.fork() == -1",
        "assert libc.vfork() == -1",
        "os.system('echo born')",
        "import subprocess\nprint(subprocess.run(['/bin/echo', 'born']).returncode)",
        "os.execv('/proc/self/exe', ['python', '-c', 'print(\"born\")'])",
        "os.posix_spawn('/bin/echo', ['echo', 'born'], {})",
        "import multiprocessing\nmultiprocessing.get_context('fork').Process(target=print, args=('born',)).start()",
        # clone with SIGCHLD alone; with a new user namespace; a thread that would share no memory
        "r = syscall(56 if os.uname().machine == 'x86_64' else 220, 17, 0, 0, 0, 0)\nassert r == 'EPERM', r",
        "r = syscall(56 if os.uname().machine == 'x86_64' else 220, 0x10000011, 0, 0, 0, 0)\nassert r == 'EPERM', r",
        "r = syscall(56 if os.uname().machine == 'x86_64' else 220, 0x10010000, 0, 0, 0, 0)\nassert r == 'EPERM', r",
        "r = syscall(435, ctypes.create_string_buffer(88), 88)\nassert r == 'ENOSYS', r",
    ],
)
async def test_no_process_can_be_made(attack: Any, birth: str) -> None:
    async with attack(birth, native=True) as result:
        assert "born" not in result.output
        assert result.status in ("exception", "policy", "ok")
        assert result.status != "exception" or "AssertionError" not in result.outcome.message
        for children in Path(f"/proc/{result.pid}/task").glob("*/children"):
            assert children.read_text() == ""


@pytest.mark.parametrize("name", available(KILLED))
async def test_a_system_call_without_innocent_use_ends_the_session(attack: Any, name: str) -> None:
    async with attack(f"syscall({available(KILLED)[name]}, 0, 0, 0, 0, 0, 0)\nprint('went on')", native=True) as result:
        assert "went on" not in result.output
        assert result.status in ("killed", "policy")


@pytest.mark.skipif(MACHINE != 0, reason="32-bit and x32 calls exist on x86_64 only")
@pytest.mark.parametrize("code", ["b814000000cd80c3", "b8270000400f05c3"])
async def test_foreign_calling_conventions_end_the_session(attack: Any, code: str) -> None:
    machine_code = (
        "import mmap\nm = mmap.mmap(-1, 4096, prot=7)\n"
        f"m.write(bytes.fromhex({code!r}))\n"
        "address = ctypes.addressof(ctypes.c_char.from_buffer(m))\n"
        "print('went on', ctypes.CFUNCTYPE(ctypes.c_long)(address)())"
    )
    async with attack(machine_code, native=True) as result:
        assert "went on" not in result.output
        assert result.status in ("killed", "policy")


@pytest.mark.parametrize(
    "rise",
    [
        "os.setuid(0)",
        "os.setgid(0)",
        "os.setresuid(0, 0, 0)",
        "os.setgroups([0])",
        "assert syscall(126 if os.uname().machine == 'x86_64' else 91, 0, 0) == 0",  # capset
        "assert libc.prctl(4, 1, 0, 0, 0) == 0",  # dumpable again
        "assert libc.prctl(22, 0, 0, 0, 0) == 0",  # seccomp off
        "import resource\nresource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
        "import resource\nresource.setrlimit(resource.RLIMIT_NPROC, (1 << 20, 1 << 20))",
        "assert libc.personality(0x0040000) == 0",  # no address randomization
        "os.chmod('/tmp', 0o4777)",
        "os.nice(-5)",
    ],
)
async def test_privileges_cannot_be_raised(attack: Any, rise: str) -> None:
    async with attack(rise, native=True) as result:
        assert result.status in ("exception", "policy", "killed")


async def test_the_guest_is_nobody_without_capabilities(host: Host) -> None:
    async with await host.open(policy="off") as session:
        await session.run("import os")
        status = dict(
            line.split(":\t", 1)
            for line in Path(f"/proc/{session.pid}/status").read_text().splitlines()
            if ":\t" in line
        )
        outcome = await session.run("print(os.getresuid(), os.getresgid(), os.uname().nodename, *os.getgroups())")
    shown, _, groups = outcome.output.partition(" sandbox")
    assert shown == "(65534, 65534, 65534) (65534, 65534, 65534)"
    assert set(groups.split()) <= (set() if os.geteuid() == 0 else {"65534"})  # only root's can be dropped
    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[kind], 16) == 0, kind
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    if os.geteuid() == 0:
        assert status["Uid"].split() == ["65534"] * 4


async def test_guests_are_what_the_kernel_kills_first_for_memory(host: Host) -> None:
    async with await host.open() as session:
        assert Path(f"/proc/{session.pid}/oom_score_adj").read_text() == "1000\n"


async def test_every_namespace_is_the_sessions_own(host: Host) -> None:
    async with await host.open() as one, await host.open() as other:
        if os.geteuid() != 0:
            pytest.skip("an undumpable process shows its namespaces to root only")
        for kind in ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup"):
            ours, first, second = (
                Path(f"/proc/{pid}/ns/{kind}").readlink() for pid in ("self", str(one.pid), str(other.pid))
            )
            assert len({ours, first, second}) == 3, kind


async def test_a_thread_bomb_stays_within_its_share(attack: Any) -> None:
    code = (
        "import threading, time\nstarted = 0\ntry:\n    while True:\n"
        "        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n        started += 1\n"
        "except RuntimeError:\n    print(started)"
    )
    async with attack(code) as result:
        assert result.output in ("", "7\n")


async def test_system_v_and_posix_objects_are_denied(attack: Any) -> None:
    calls = {
        "shmget": (29, 194),
        "semget": (64, 190),
        "msgget": (68, 186),
        "mq_open": (240, 180),
        "memfd_create": (319, 279),
    }
    code = "\n".join(
        f"print({name!r}, syscall({numbers[MACHINE]}, 0, 4096, 0o1666))" for name, numbers in calls.items()
    )
    async with attack(code, native=True) as result:
        assert result.output in ("", "".join(f"{name} EPERM\n" for name in calls))


async def test_the_environment_and_the_launchers_memory_hold_no_secret(attack: Any) -> None:
    code = (
        "environ = ctypes.POINTER(ctypes.c_char_p).in_dll(libc, 'environ')\ni = 0\nfound = []\n"
        "while environ[i]:\n    found.append(environ[i])\n    i += 1\n"
        "import sys, gc\nprint(found, dict(os.environ), sys.argv, sys.orig_argv)\n"
        "print([type(o) for o in gc.get_objects() if type(o).__name__ in ('socket', 'Cell') and 'sock' in str(o)])\n"
    )
    async with attack(code, native=True) as result:
        assert "sesame" not in result.output
        assert result.status in ("policy", "ok")


async def test_modules_of_the_host_are_not_there(attack: Any) -> None:
    for module in (
        "maia.orchestrator",
        "maia.services",
        "maia.wire",
        "maia.sandbox.host",
        "maia.cli",
        "grpc",
        "anthropic",
    ):
        async with attack(f"import {module}\nprint('found')") as result:
            assert "found" not in result.output

"""Attacks on other processes: the host's, the session's own supervisor, whoever has a number."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.security.attack import LIMITS, NATIVE, Tier, each
from tests.security.conftest import Attack
from tests.security.processes import living

from maia.sandbox import Host

pytestmark = pytest.mark.asyncio(loop_scope="session")

UNTIL_STDIN_CLOSES = """
import os, sys
if os.geteuid() == 0 and {uid}:
    os.setresuid({uid}, {uid}, {uid})
sys.stdin.read()
"""


@pytest.fixture(params=[0, 65534], ids=["of the host's user", "of the user that guests are"])
def victim(request: pytest.FixtureRequest) -> Iterator[int]:
    """A process of the host."""
    program = UNTIL_STDIN_CLOSES.format(uid=request.param)
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE) as process:
        yield process.pid
        process.kill()


BLOWS = {
    "kill": "print(syscall('kill', {pid}, 9))",
    "kill, by the library": """
        try:
            os.kill({pid}, 9)
        except PermissionError:
            print('EPERM')
    """,
    "killing its thread": "print(syscall('tkill', {pid}, 9))",
    "killing its thread, and saying which process": "print(syscall('tgkill', {pid}, {pid}, 9))",
    "killing its group": "print(syscall('kill', -{pid}, 9))",
    "a signal with a value": "print(syscall('rt_sigqueueinfo', {pid}, 9, ctypes.create_string_buffer(128)))",
    "a signal with a value to its thread": (
        "print(syscall('rt_tgsigqueueinfo', {pid}, {pid}, 9, ctypes.create_string_buffer(128)))"
    ),
    "a lower priority": "print(syscall('setpriority', 0, {pid}, 19))",
    "a limit of CPU": "print(syscall('prlimit64', {pid}, 0, ctypes.create_string_buffer(16), 0))",
    "one processor": "print(syscall('sched_setaffinity', {pid}, 8, ctypes.create_string_buffer(b'\\x01' + bytes(7))))",
    "another scheduler": "print(syscall('sched_setscheduler', {pid}, 5, ctypes.create_string_buffer(4)))",
    "another group": "print(syscall('setpgid', {pid}, 0))",
    "a descriptor that signals it": "print(syscall('fcntl', 0, 8, {pid}))",
    "a timer that signals it": "print(syscall('timer_create', 0, ctypes.create_string_buffer(64), 0))",
    "freeing its memory": "print(syscall('process_mrelease', {pid}, 0))",
    "moving its pages": "print(syscall('move_pages', {pid}, 0, 0, 0, 0, 0))",
}


@each("blow", BLOWS)
async def test_a_process_of_the_host_cannot_be_touched(attack: Attack, victim: int, blow: str) -> None:
    about = _about(victim)
    async with attack(blow.format(pid=victim), native=True) as result:
        assert result.said("EPERM\n"), (result.status, result.output)
    assert _about(victim) == about


DEADLY_BLOWS = {
    "tracing it": "syscall('ptrace', 16, {pid}, 0, 0)",
    "seizing it": "syscall('ptrace', 0x4206, {pid}, 0, 0)",
    "reading its memory": "syscall('process_vm_readv', {pid}, 0, 0, 0, 0, 0)",
    "writing its memory": "syscall('process_vm_writev', {pid}, 0, 0, 0, 0, 0)",
    "a descriptor of it": "syscall('pidfd_open', {pid}, 0)",
    "a signal through a descriptor": "syscall('pidfd_send_signal', 0, 9, 0, 0)",
    "one of its descriptors": "syscall('pidfd_getfd', 0, 0, 0)",
    "comparing itself with it": "syscall('kcmp', {pid}, {pid}, 0, 0, 0)",
    "advice on its memory": "syscall('process_madvise', 0, 0, 0, 21, 0)",
}


@each("blow", DEADLY_BLOWS)
async def test_a_blow_at_a_process_without_innocent_use_ends_the_attacker(
    attack: Attack, victim: int, tier: Tier, blow: str
) -> None:
    if tier.container and "ptrace" not in blow:
        pytest.skip("each costs a container; the filter is the one that the jail shows in full")
    about = _about(victim)
    async with attack(f"{blow.format(pid=victim)}\nprint('went on')", native=True) as result:
        assert "went on" not in result.output
        assert result.status in ("killed", "policy")
    assert _about(victim) == about


def _about(pid: int) -> tuple[object, ...]:
    assert living([pid])
    status = Path(f"/proc/{pid}/status").read_text()
    traced = next(line for line in status.splitlines() if line.startswith("TracerPid"))
    return os.getpriority(os.PRIO_PROCESS, pid), os.sched_getaffinity(pid), os.getpgid(pid), traced


EVERYONE = {
    "every number there may be": "print({syscall('kill', pid, 9) for pid in range(2, 33000)})",
    "everyone at once": "print({syscall('kill', -1, 9)})",
    "its own group": "print({syscall('kill', 0, 9)})",
    "its parent": "print({syscall('kill', os.getppid(), 9)})",
    "its parent's stop": "print({syscall('kill', os.getppid(), 19)})",
    "the first process there is": "print({syscall('kill', 1, 9), syscall('tgkill', 1, 1, 9)})",
    "itself": "print({syscall('kill', os.getpid(), 9)})",
    "a thread of its own": "print({syscall('tgkill', os.getpid(), syscall('gettid'), 15)})",
}


@each("code", EVERYONE)
async def test_a_signal_to_whom_it_may_concern_reaches_nobody(attack: Attack, code: str) -> None:
    async with attack(code, native=True) as result:
        assert result.said("{'EPERM'}\n"), (result.status, result.output)
        assert (await result.session.run("print('still here')")).output == "still here\n"


async def test_the_supervisor_outlives_all_that_its_guest_can_do(host: Host, tier: Tier) -> None:
    """And answers afterwards: a block after each attempt, in one session, and a kill that it has to see to."""
    attempts = (
        *EVERYONE.values(),
        "os.close(999)",
        "for _ in range(500):\n    os.write(999, b'born')",
        "os.close(1000)",
    )
    async with await host.open(policy="off", limits=LIMITS) as session:
        for attempt in attempts[:-1]:
            outcome = await session.run(NATIVE + attempt)
            assert outcome.status.value in ("ok", "exception"), (attempt, outcome)
        assert (await session.run("print('still here')")).output == "still here\n"
        ended = await session.run(NATIVE + attempts[-1])
        assert ended.status.value in ("killed", "ok"), ended


SELF = {
    "a session of its own": "print(syscall('setsid'))",
    "a group of its own": "print(syscall('setpgid', 0, 0))",
    "no death with its parent": "print(syscall('prctl', 1, 0, 0, 0, 0))",
    "another's orphans": "print(syscall('prctl', 36, 1, 0, 0, 0))",
    "anyone as its tracer": "print(syscall('prctl', 0x59616d61, -1, 0, 0, 0))",
    "waiting for another's children": "print(syscall('wait4', -1, 0, 1, 0))",
    "a higher priority": "print(syscall('setpriority', 0, 0, -20))",
    "a real-time schedule": "print(syscall('sched_setscheduler', 0, 1, (ctypes.c_int * 1)(1)))",
    "a schedule with a deadline": "print(syscall('sched_setattr', 0, ctypes.create_string_buffer(64), 0))",
    "the first turn at the disk": "print(syscall('ioprio_set', 1, 0, 1 << 13))",
    "memory that is never swapped": "print(syscall('mlockall', 3))",
}


@each("code", SELF)
async def test_a_guest_cannot_make_itself_harder_to_rule(attack: Attack, code: str) -> None:
    async with attack(code, native=True) as result:
        assert result.said("EPERM\n"), (result.status, result.output)


SHORT = replace(LIMITS, wall_s=0.3)

DEAF = {
    "a handler for every signal": """
        for number in range(1, 65):
            try:
                signal.signal(number, lambda *_: None)
            except (OSError, ValueError):
                pass
    """,
    "every signal ignored": """
        for number in range(1, 65):
            try:
                signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError):
                pass
    """,
    "every signal blocked": "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\n",
    "an alternate stack that is no memory": """
        import ctypes
        ctypes.CDLL(None).sigaltstack((ctypes.c_uint64 * 3)(8, 0, 65536), None)
    """,
}


@each("code", DEAF)
async def test_a_guest_that_hears_no_signal_ends_all_the_same(attack: Attack, code: str) -> None:
    async with attack(f"import signal\n{code}\nwhile True:\n    pass", limits=SHORT, fresh=True) as result:
        assert result.status in ("wall_clock", "policy")


TIMERS = {
    "an alarm": "signal.setitimer(signal.ITIMER_REAL, 0.01, 0.0001)\n",
    "a timer of its CPU": "signal.setitimer(signal.ITIMER_VIRTUAL, 0.001, 0.0001)\n",
    "a profile": "signal.setitimer(signal.ITIMER_PROF, 0.001, 0.0001)\n",
}


@each("code", TIMERS)
async def test_a_flood_of_timers_is_the_guests_own(attack: Attack, code: str) -> None:
    deaf = "import signal\nfor n in (14, 26, 27):\n    signal.signal(n, lambda *_: None)\n"
    async with attack(f"{deaf}\n{code}\nsum(range(10**7))\nprint('done')", fresh=True) as result:
        assert result.status in ("ok", "policy", "wall_clock", "cpu")


async def test_a_guest_that_kills_itself_by_a_signal_costs_its_own_session(attack: Attack, tier: Tier) -> None:
    code = "import signal, time\nsignal.setitimer(signal.ITIMER_REAL, 0.01)\ntime.sleep(2)"
    async with attack(code, limits=SHORT, fresh=True) as result:
        assert result.status in ("killed", "exception", "wall_clock", "policy"), result.message


async def test_the_hosts_signals_are_the_hosts(attack: Attack) -> None:
    """What a guest does to signals leaves the host's handlers and mask as they were."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)]
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    async with attack("import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, [2, 15])", fresh=True):
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)] == before
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == mask

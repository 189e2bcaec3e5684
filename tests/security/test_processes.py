# ruff: noqa: ASYNC240  files are looked at between attacks, when nothing else runs
"""Attacks by processes and threads: new ones, hidden ones, ones that go on; and what a process may become."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from tests.security.attack import LIMITS, Tier, each
from tests.security.conftest import Attack
from tests.security.processes import below, cpu_s, of_session

from maia.sandbox import Host, Session, SessionError
from maia.sandbox.host import session as session_module

pytestmark = pytest.mark.asyncio(loop_scope="session")

BIRTHS = {
    "os.fork": "print('born', os.fork())",
    "os.forkpty": "print('born', os.forkpty())",
    "the C library's fork": "assert libc.fork() == -1",
    "the C library's vfork": "assert libc.vfork() == -1",
    "the C library's posix_spawn": """
        pid = ctypes.c_int()
        argv = (ctypes.c_char_p * 2)(b'sh', None)
        assert libc.posix_spawn(ctypes.byref(pid), b'/bin/sh', None, None, argv, None) != 0
    """,
    "a shell": "os.system('echo born')",
    "a pipe from a shell": "print(os.popen('echo born').read())",
    "subprocess": """
        import subprocess
        print(subprocess.run(['/bin/echo', 'born']).returncode)
    """,
    "os.posix_spawn": "os.posix_spawn('/bin/echo', ['echo', 'born'], {})",
    "a program in its own place": "os.execv('/proc/self/exe', ['python', '-c', 'print(\"born\")'])",
    "the interpreter in its own place": """
        import sys
        os.execv(sys.executable, ['python', '-c', 'print("born")'])
    """,
    "multiprocessing by fork": """
        import multiprocessing
        multiprocessing.get_context('fork').Process(target=print, args=('born',)).start()
    """,
    "multiprocessing by spawn": """
        import multiprocessing
        multiprocessing.get_context('spawn').Process(target=print, args=('born',)).start()
    """,
    "a pool of processes": """
        from concurrent.futures import ProcessPoolExecutor
        with ProcessPoolExecutor() as pool:
            print('born', pool.submit(abs, -1).result())
    """,
    "asyncio's subprocess": """
        import asyncio
        asyncio.run(asyncio.create_subprocess_exec('/bin/echo', 'born'))
    """,
    "a thread that forks": """
        import threading
        def birth():
            assert libc.fork() == -1
        thread = threading.Thread(target=birth)
        thread.start()
        thread.join()
    """,
    "a loop that forks": "assert {libc.fork() for _ in range(2000)} == {-1}",
    "clone with every flag in turn": """
        answers = {syscall('clone', 1 << bit | 17, 0, 0, 0, 0) for bit in range(64)}
        assert answers == {'EPERM'}, answers
    """,
    "clone with every signal": """
        answers = {syscall('clone', number, 0, 0, 0, 0) for number in range(65)}
        assert answers == {'EPERM'}, answers
    """,
    "clone3": "assert syscall('clone3', ctypes.create_string_buffer(88), 88) == 'ENOSYS'",
}


@each("birth", BIRTHS)
async def test_no_process_can_be_made(attack: Attack, birth: str) -> None:
    async with attack(birth, native=True) as result:
        assert "born" not in result.output
        assert result.status in ("exception", "policy", "ok"), result.message
        assert "AssertionError" not in result.message
        if result.pid is not None and not result.early:
            await settled(result.session)
            assert len(below(result.pid)) <= 1  # the checkpoint


async def settled(session: Session) -> None:
    """Wait until what comes between two blocks is over."""
    while session._checkpointing is not None and not session._checkpointing.done():  # noqa: ASYNC110  no event is set
        await asyncio.sleep(0.005)


async def test_a_fork_that_is_stolen_from_the_runner_gives_no_second_process(host: Host, tier: Tier) -> None:
    """The runner may fork once between two blocks. Threads that try to be first get nothing, block after block."""
    thieves = """
import ctypes, threading
libc = ctypes.CDLL(None)
def steal():
    while True:
        if libc.fork() == 0:
            while True:
                pass
for _ in range(4):
    threading.Thread(target=steal, daemon=True).start()
"""
    async with await host.open(policy="off", limits=LIMITS) as session:
        assert (await session.run(thieves)).ok
        for _ in range(3):
            await settled(session)
            assert await _cpu_of(session, within_s=0.15) < 0.1
            if not session.alive:
                break
            if session.pid is not None:
                assert len(below(session.pid)) <= 1
            if not (await session.run("pass")).ok:
                break


HIJACKS = {
    "it computes for ever": """
        def leave(self):
            while True:
                pass
    """,
    "it sleeps for ever": """
        import time
        def leave(self):
            time.sleep(10**6)
    """,
    "it forks and hides the child": """
        import os
        def leave(self):
            if os.fork() == 0:
                while True:
                    pass
            self._channel.send(pb.GuestFrame(checkpointed=pb.Checkpointed(made=False)))
    """,
    "it forks, hides the child and ends": """
        import os
        def leave(self):
            if os.fork() == 0:
                while True:
                    pass
            os._exit(0)
    """,
    "it lies that there is a child": """
        def leave(self):
            self._channel.send(pb.GuestFrame(checkpointed=pb.Checkpointed(made=True)))
    """,
    "it answers with another frame": """
        def leave(self):
            self._channel.send(pb.GuestFrame(ready=pb.GuestReady()))
    """,
    "it answers with half a frame": """
        import os
        def leave(self):
            os.write(1000, bytes([0, 0, 1]))
            while True:
                pass
    """,
    "it answers with noise": """
        import os
        def leave(self):
            os.write(1000, bytes(8))
            while True:
                pass
    """,
    "it answers twice": """
        def leave(self):
            for _ in range(2):
                self._channel.send(pb.GuestFrame(checkpointed=pb.Checkpointed(made=False)))
            while True:
                pass
    """,
    "it closes its line to the supervisor": """
        import os
        def leave(self):
            os.close(999)
            while True:
                pass
    """,
    "it floods its line to the supervisor": """
        import os
        def leave(self):
            while True:
                os.write(999, b'born')
    """,
    "it ends": """
        import os
        def leave(self):
            os._exit(0)
    """,
    "it makes a system call that is forbidden": """
        import ctypes
        def leave(self):
            ctypes.CDLL(None).syscall(101, 0, 0, 0, 0)
    """,
}


@each("hijack", HIJACKS)
async def test_code_in_the_runners_place_gets_seconds_between_blocks_and_then_ends(
    host: Host, monkeypatch: pytest.MonkeyPatch, hijack: str
) -> None:
    """Between blocks the runner leaves a checkpoint. Guest code can take its place, where no clock of a block runs."""
    monkeypatch.setattr(session_module, "_CHECKPOINT_S", 0.5)
    imports = "import maia.sandbox.guest.runner as runner\nfrom maia.execution.v1 import execution_pb2 as pb\n"
    async with await host.open(policy="off", limits=LIMITS) as session:
        processes = of_session(session.pid)
        assert (await session.run(f"{imports}{hijack}\nrunner.Runner._leave_checkpoint = leave")).ok
        async with asyncio.timeout(8):
            await settled(session)
        await asyncio.sleep(0.6)  # what hides is given time to show itself or end
        processes |= of_session(session.pid)
        before = cpu_s(processes)
        await asyncio.sleep(0.2)
        assert cpu_s(processes) - before < 0.1
        if session.alive:
            try:
                await session.run("pass")
            except SessionError:
                assert not session.alive


async def _cpu_of(session: Session, within_s: float) -> float:
    """CPU seconds that a session's processes have within so many seconds."""
    processes = of_session(session.pid)
    before = cpu_s(processes)
    await asyncio.sleep(within_s)
    return cpu_s(processes) - before


BUSY = {
    "a thread": """
        import threading
        def work():
            while True:
                pass
        threading.Thread(target=work, daemon=True).start()
    """,
    "a thread of machine code": """
        import ctypes, mmap, threading
        page = mmap.mmap(-1, 4096, prot=7)
        page.write(b'\\xeb\\xfe')
        spin = ctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
        threading.Thread(target=spin, daemon=True).start()
    """,
    "a timer": """
        import signal
        signal.signal(signal.SIGALRM, lambda *_: sum(range(10**9)))
        signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)
    """,
    "an end that is a lie": """
        import os
        from maia.execution.v1 import execution_pb2 as pb
        from maia.sandbox.protocol.frames import encode
        os.write(1000, encode(pb.GuestFrame(block_ended=pb.GuestBlockEnded(block_id=1, status=1))))
        while True:
            pass
    """,
}


@each("code", BUSY)
async def test_what_goes_on_after_a_block_gets_no_cpu(
    attack: Attack, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    monkeypatch.setattr(session_module, "_CHECKPOINT_S", 0.5)
    async with attack(code, fresh=True) as result:
        assert result.status in ("ok", "policy", "killed"), result.message
        await settled(result.session)
        assert await _cpu_of(result.session, within_s=0.3) < 0.1


async def test_a_thread_bomb_stays_within_its_share(attack: Attack, tier: Tier) -> None:
    code = """
import threading, time
started = 0
try:
    while True:
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        started += 1
except RuntimeError:
    print(started)
"""
    async with attack(code, fresh=True) as result:
        if tier.own_kernel and not result.early:
            pytest.skip("threads of gVisor's kernel are counted with the guest's, so theirs is no exact bound")
        assert result.early or int(result.output) <= LIMITS.threads + 4, (result.status, result.output)


RISES = {
    "becoming root": "os.setuid(0)",
    "becoming root's group": "os.setgid(0)",
    "becoming root in all three ways": "os.setresuid(0, 0, 0)",
    "root's groups": "os.setgroups([0])",
    "all capabilities": "assert syscall('capset', (ctypes.c_uint32 * 2)(0x20080522, 0), bytes(24)) == 0",
    "being dumpable": "assert libc.prctl(4, 1, 0, 0, 0) == 0",
    "no filter": "assert libc.prctl(22, 0, 0, 0, 0) == 0",
    "new privileges": "assert libc.prctl(38, 0, 0, 0, 0) == 0",
    "more memory": """
        import resource
        resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
    """,
    "more processes": """
        import resource
        resource.setrlimit(resource.RLIMIT_NPROC, (1 << 20, 1 << 20))
    """,
    "more files": """
        import resource
        resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
    """,
    "larger files": """
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
    """,
    "a core of itself": """
        import resource
        resource.setrlimit(resource.RLIMIT_CORE, (-1, -1))
    """,
    "locked memory": """
        import resource
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (1 << 30, 1 << 30))
    """,
    "a lower limit, to be raised again": """
        import resource
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, resource.getrlimit(resource.RLIMIT_AS)[1]))
    """,
    "no address randomization": "assert libc.personality(0x0040000) == 0",
    "executable data": "assert libc.personality(0x0400000) == 0",
    "files for everyone": "os.chmod('.', 0o4777)",
    "a better priority": "os.nice(-5)",
}


@each("rise", RISES)
async def test_privileges_cannot_be_raised(attack: Attack, rise: str) -> None:
    async with attack(rise, native=True) as result:
        assert result.status in ("exception", "policy", "killed"), result.output


ENDS = {
    "the machine": "syscall('reboot', 0xfee1dead, 672274793, 0x4321fedc, 0)",
    "the kernel": "syscall('kexec_load', 0, 0, 0, 0)",
    "the clock": "syscall('clock_settime', 0, ctypes.create_string_buffer(16))",
    "the time of day": "syscall('settimeofday', ctypes.create_string_buffer(16), 0)",
    "the pace of the clock": "syscall('adjtimex', ctypes.create_string_buffer(208))",
    "the host's name": "syscall('sethostname', b'stolen', 6)",
    "the host's domain": "syscall('setdomainname', b'stolen', 6)",
    "a module of the kernel": "syscall('finit_module', 0, b'', 0)",
    "the swap": "syscall('swapoff', b'/swap')",
    "the accounting": "syscall('acct', 0)",
    "the ports": "syscall('iopl', 3)",
}


@each("call", ENDS)
async def test_what_is_the_machines_cannot_be_changed(attack: Attack, tier: Tier, call: str) -> None:
    if tier.container and "reboot" not in call:
        pytest.skip("each costs a container; the filter is the one that the jail shows in full")
    name = os.uname().nodename
    async with attack(f"{call}\nprint('went on')", native=True) as result:
        assert "went on" not in result.output
        assert result.status in ("killed", "policy")
    assert os.uname().nodename == name


async def test_the_guest_is_nobody_without_capabilities(host: Host, tier: Tier) -> None:
    async with await host.open(policy="off", limits=LIMITS) as session:
        outcome = await session.run("import os\nprint(os.getresuid(), os.getresgid(), *os.getgroups())")
        ids = outcome.output.split(") ")
        if tier.own_names:
            assert outcome.output.startswith("(65534, 65534, 65534) (65534, 65534, 65534)")
            kept = os.geteuid() != 0 or tier.container  # only root's can be dropped; an engine keeps the group itself
            assert set(outcome.output.split()[6:]) <= ({"65534"} if kept else set())
        else:
            assert len(ids) >= 2  # its own where everyone can read what is installed, else the host's
        if session.pid is None:
            pytest.skip("a container's processes are not shown to the host")
        status = _status(session.pid)
    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[kind], 16) == 0, kind
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    if os.geteuid() == 0 and tier.own_names:
        assert status["Uid"].split() == ["65534"] * 4


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


async def test_the_supervisor_has_no_capability_either(host: Host, tier: Tier) -> None:
    async with await host.open(limits=LIMITS) as session:
        if session.pid is None:
            pytest.skip("a container's processes are not shown to the host")
        status = _status(int(_status(session.pid)["PPid"]))
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == int(status["CapBnd"], 16) == 0
    assert status["NoNewPrivs"] == "1"


async def test_guests_are_what_the_kernel_kills_first_for_memory(host: Host) -> None:
    async with await host.open(limits=LIMITS) as session:
        if session.pid is None:
            pytest.skip("a container's processes are not shown to the host")
        assert Path(f"/proc/{session.pid}/oom_score_adj").read_text() == "1000\n"


async def test_every_process_of_a_session_is_in_its_group(host: Host, tier: Tier) -> None:
    if tier.container or not {feature.name: feature.enforced for feature in host.features}["cgroup"]:
        pytest.skip("a container's group is the engine's" if tier.container else "this host may make no groups")
    for pause in (0.0, 0.03, 0.06) * 2:  # before, while and after the next session is prepared
        await asyncio.sleep(pause)
        async with await host.open(policy="off", limits=LIMITS) as session:
            await session.run("pass")
            await settled(session)
            groups = [_groups(pid) for pid in of_session(session.pid)]
        assert len(groups) >= 2
        assert all(group == groups[0] for group in groups)
        assert groups[0]
        assert not groups[0] & _groups(os.getpid())


def _groups(pid: int) -> set[str]:
    """The group of a process in each hierarchy that bounds sessions."""
    rows = [row.split(":", 2) for row in Path(f"/proc/{pid}/cgroup").read_text().splitlines()]
    return {f"{names}:{path}" for _, names, path in rows if {"memory", "pids", ""} & set(names.split(","))} - {":/"}


async def test_every_namespace_is_the_sessions_own(host: Host, tier: Tier) -> None:
    if tier.name != "jail":
        pytest.skip("this tier has no namespaces" if not tier.own_names else "a container's are the engine's affair")
    async with await host.open(limits=LIMITS) as one, await host.open(limits=LIMITS) as other:
        if os.geteuid() != 0:
            pytest.skip("an undumpable process shows its namespaces to root only")
        for kind in ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup"):
            ours, first, second = (
                Path(f"/proc/{pid}/ns/{kind}").readlink() for pid in ("self", str(one.pid), str(other.pid))
            )
            assert len({ours, first, second}) == 3, kind


async def test_what_can_be_learnt_of_the_machine_is_little(attack: Attack, tier: Tier) -> None:
    code = """
import getpass, os, platform, socket
print(os.uname().nodename)
for ask in (os.getlogin, getpass.getuser, socket.gethostname):
    try:
        print(ask())
    except Exception as error:
        print(type(error).__name__)
"""
    async with attack(code) as result:
        if tier.own_names:
            assert os.uname().nodename not in result.output.split()
        assert os.environ.get("USER", "root") not in result.output.split() or not tier.own_names


async def test_the_environment_and_the_launchers_memory_hold_no_secret(attack: Attack, secret: str) -> None:
    code = """
import sys, gc
environ = ctypes.POINTER(ctypes.c_char_p).in_dll(libc, 'environ')
i = 0
found = []
while environ[i]:
    found.append(environ[i])
    i += 1
print(found, dict(os.environ), sys.argv, sys.orig_argv)
gc.unfreeze()
print([type(o) for o in gc.get_objects() if type(o).__name__ in ('socket', 'Cell') and 'sock' in str(o)])
"""
    async with attack(code, native=True) as result:
        assert not result.tells(secret)
        assert result.status in ("policy", "ok")

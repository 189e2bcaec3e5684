# ruff: noqa: ASYNC220, ASYNC221, ASYNC240  the processes and files under test answer at once
"""The host around sessions: the zygote's death, the jail's end, the front door."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from maia.sandbox import (
    Host,
    HostGoneError,
    Sandbox,
    SandboxError,
    Session,
    SessionError,
    State,
    Status,
    TierUnavailableError,
    probe,
)
from maia.sandbox.host.tiers.forked import ForkedTier
from maia.sandbox.host.tiers.jail.plan import make_plan

REPOSITORY = Path(__file__).parents[4]

pytestmark = pytest.mark.asyncio(loop_scope="session")


def children(pid: int) -> list[int]:
    return [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]


def descendants(pid: int) -> list[int]:
    return [found for child in children(pid) for found in (child, *descendants(child))]


def launched(host: Host) -> int:
    assert isinstance(host._tier, ForkedTier)
    process = host._tier._process
    assert process is not None
    return process.pid


def runs(pid: int) -> bool:
    """Whether a process has not ended; one that only waits to be reaped, by whoever adopted it, has."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return "State:\tZ" not in status


async def settled(host: Host) -> None:
    """Until the supervisor of the next session is there."""
    assert isinstance(host._tier, ForkedTier)
    async with asyncio.timeout(10):
        while host._tier._ahead is None or not host._tier._ahead.done():  # noqa: ASYNC110  no event is set
            await asyncio.sleep(0.01)


async def test_a_dead_zygote_is_replaced_and_sessions_go_on(tmp_path: Path) -> None:
    async with Host(tier="jail", cache_dir=tmp_path) as host, await host.open() as before:
        await before.run("x = 1")
        (keeper,) = children(launched(host))
        (zygote,) = children(keeper)
        os.kill(zygote, signal.SIGKILL)
        assert (await before.run("print(x)")).output == "1\n"
        async with await host.open() as after:
            assert (await after.run("print(2)")).output == "2\n"
        assert before.pid is not None
        os.kill(before.pid, signal.SIGKILL)
        outcome = await before.run("pass")
        assert outcome.state in (State.RESTORED, State.LOST)
        assert outcome.usage.peak_memory_bytes > 0


async def test_everything_ends_with_the_host(tmp_path: Path) -> None:
    async with Host(tier="jail", cache_dir=tmp_path) as host:
        sessions = [await host.open() for _ in range(3)]
        processes = [launched(host), *descendants(launched(host))]
        assert {session.pid for session in sessions} <= set(processes)
    assert [pid for pid in processes if Path(f"/proc/{pid}").exists()] == []
    with pytest.raises(SessionError, match="closed"):
        await sessions[0].run("pass")


async def test_everything_ends_when_the_hosts_process_is_killed(tmp_path: Path) -> None:
    program = (
        "import asyncio, pathlib, sys, time\n"
        "from maia.sandbox import Host\n"
        "async def main():\n"
        "    async with Host(tier='jail', cache_dir=pathlib.Path(sys.argv[1])) as host:\n"
        "        session = await host.open(policy='off')\n"
        "        await session.run('import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)')\n"
        "        print(session.pid, flush=True)\n"
        "        time.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        guest = int(await asyncio.to_thread(process.stdout.readline))
        tree = descendants(process.pid)
        assert guest in tree
        process.kill()
    for _ in range(3000):  # the kernel takes its time over namespaces; seconds on a machine that has made many
        left = [pid for pid in tree if runs(pid)]
        if not left:
            return
        await asyncio.sleep(0.01)
    pytest.fail(f"processes of a dead host are left: {left}")


async def test_sessions_leave_no_descriptor_and_no_process(host: Host) -> None:
    async with await host.open() as session:
        await session.run("pass")
    await settled(host)
    descriptors = list(Path("/proc/self/fd").iterdir())
    for policy in ("restricted", "off") * 5:
        async with await host.open(policy=policy) as session:
            await session.run("import os\nos._exit(1)")
    await settled(host)
    assert len(list(Path("/proc/self/fd").iterdir())) == len(descriptors)
    for _ in range(500):
        if len(descendants(launched(host))) == 4:  # keeper, zygote, and the next session's supervisor and guest
            return
        await asyncio.sleep(0.01)
    pytest.fail("guests are left")


async def test_a_host_out_of_descriptors_says_so_and_recovers(host: Host) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened: list[Session] = []
    async with await host.open():
        await settled(host)
    before = len(list(Path("/proc/self/fd").iterdir()))
    highest = max(int(entry.name) for entry in Path("/proc/self/fd").iterdir())
    for spare in range(8):  # each leaves off at another step
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + spare, hard))
        try:
            while len(opened) < 100:
                opened.append(await host.open())
        except SandboxError as error:
            assert "ulimit -n" in str(error)  # noqa: PT017  the call that fails is one of many
        else:
            pytest.fail("a limit that does not hold")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    for session in opened:
        await session.close()
    async with await host.open():
        await settled(host)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    async with await host.open() as session:
        assert (await session.run("print(1)")).output == "1\n"


async def test_a_terminals_interrupt_reaches_the_host_only(host: Host) -> None:
    async with await host.open() as session:
        assert session.pid in descendants(launched(host))
        for pid in descendants(launched(host)):
            assert os.getpgid(pid) != os.getpgrp()


async def test_fifty_sessions_answer_side_by_side(host: Host) -> None:
    sessions = await asyncio.gather(*(host.open() for _ in range(50)))
    outcomes = await asyncio.gather(*(session.run(f"print({i})") for i, session in enumerate(sessions)))
    assert [outcome.output for outcome in outcomes] == [f"{i}\n" for i in range(50)]
    for session in sessions:
        await session.close()


async def test_the_front_door_takes_plain_functions(tmp_path: Path) -> None:
    def search_catalogue(word: str) -> list[str]:
        """Find articles."""
        return [word.upper()]

    box = Sandbox(tools=[search_catalogue], cache_dir=tmp_path)
    with pytest.raises(SessionError, match="async with"):
        await box.run("pass")
    async with box:
        outcome = await box.run("print(search_catalogue('lamp'))")
    assert outcome.output == "['LAMP']\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user's sessions read what the user reads")
async def test_an_installation_that_only_root_can_read_is_named(tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    plan = make_plan(tmp_path / "cache")
    (remembered,) = (tmp_path / "cache").iterdir()
    remembered.write_text(replace(plan, binds=(*plan.binds, str(private))).to_json())
    with pytest.raises(TierUnavailableError, match=r"read .*private as nobody.*chmod"):
        async with Host(tier="jail", cache_dir=tmp_path / "cache"):
            pass


async def test_probe_says_what_holds(tmp_path: Path) -> None:
    report = await probe(cache_dir=tmp_path)
    assert report.available
    assert {feature.name for feature in report.features if feature.enforced} >= {"namespaces", "seccomp", "root"}


async def test_importing_the_package_is_light() -> None:
    program = (
        "import sys, maia.sandbox; print([m for m in ('numpy', 'google.protobuf', 'asyncio') if m in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout == "[]\n"


async def test_where_the_kernel_refuses_a_step_it_is_named_with_its_remedy(tmp_path: Path) -> None:
    program = (
        "import asyncio, pathlib, sys\n"
        "from maia.sandbox import Host, TierUnavailableError, probe\n"
        "async def main():\n"
        "    try:\n"
        "        async with Host(tier='jail', cache_dir=pathlib.Path(sys.argv[1])):\n"
        "            print('started')\n"
        "    except TierUnavailableError as error:\n"
        "        print(error.step, error.errno, 'sysctl' in error.remedy)\n"
        "    report = await probe(cache_dir=pathlib.Path(sys.argv[1]))\n"
        "    print(report.available, report.features[0].name)\n"
        "asyncio.run(main())\n"
    )
    # A user namespace in which no further one may be made, as on a machine whose administrator forbids them.
    shell = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
    answer = subprocess.run(
        ["unshare", "--user", "--map-root-user", "sh", "-c", shell, "sh", sys.executable, "-c", program, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.stdout == f"unshare(user) {errno.ENOSPC} True\nFalse unshare(user)\n", answer.stderr


async def test_an_installation_below_tmp_works_and_tmp_stays_the_sessions_own() -> None:
    program = (
        "import asyncio, maia.sandbox\n"
        "async def main():\n"
        "    async with maia.sandbox.Host() as host, await host.open(policy='off') as session:\n"
        "        outcome = await session.run('import os, scipy.ndimage, maia.sandbox.guest.names as n\\n'\n"
        "            'open(\\'/tmp/own\\', \\'w\\').close()\\nprint(n.__file__, os.listdir(os.path.dirname(MARK)))'\n"
        "            .replace('MARK', repr(maia.sandbox.__file__)))\n"
        "        print(outcome.output, outcome.message)\n"
        "asyncio.run(main())\n"
    )
    with tempfile.TemporaryDirectory(dir="/tmp") as home:
        for part in ("sandbox/maia/sandbox", "protos/maia/execution"):
            shutil.copytree(REPOSITORY / part, Path(home, "maia", Path(part).name))
        answer = subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONPATH": home}, capture_output=True, text=True, check=False
        )
        assert answer.stdout.startswith(f"{home}/maia/sandbox/guest/names.py ["), answer.stderr
        assert "host" not in answer.stdout.partition("[")[2]
    assert not Path("/tmp/own").exists()


@pytest.mark.parametrize("when", ["in a block", "between blocks"])
async def test_a_host_whose_processes_are_killed_says_so_and_begins_again(tmp_path: Path, when: str) -> None:
    async with Host(cache_dir=tmp_path) as host:
        session, other = [await host.open() for _ in range(2)]
        assert (await session.run("x = 1")).status is Status.OK
        assert isinstance(host._tier, ForkedTier)
        keeper = host._tier._process
        assert keeper is not None
        if when == "in a block":
            running = asyncio.create_task(session.run("import time\ntime.sleep(30)"))
            await asyncio.sleep(0.3)
            keeper.kill()
        else:
            keeper.kill()
            await keeper.wait()
            running = asyncio.create_task(session.run("print(x)"))
        with pytest.raises(HostGoneError):
            await running
        assert not session.alive
        with pytest.raises(HostGoneError):
            await other.run("print(1)")
        first, second = await asyncio.gather(host.open(), host.open())
        assert [(await each.run("print(2)")).output for each in (first, second)] == ["2\n", "2\n"]


async def test_a_guest_that_ends_itself_is_no_host_that_is_gone(tmp_path: Path) -> None:
    async with Host(cache_dir=tmp_path) as host, await host.open(policy="off") as session:
        await session.run("x = 1")
        outcome = await session.run("import os\nos._exit(3)")
        assert outcome.status is Status.KILLED

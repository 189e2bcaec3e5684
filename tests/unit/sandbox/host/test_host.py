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
from tests.unit.sandbox.host.trees import children, descendants, kill_all_sessions, launched, runs

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
    Tool,
    probe,
)
from maia.sandbox.host.tiers.forked import ForkedTier
from maia.sandbox.host.tiers.jail.plan import make_plan

REPOSITORY = Path(__file__).parents[4]

pytestmark = pytest.mark.asyncio(loop_scope="session")


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


@pytest.mark.parametrize("fresh", [True, False], ids=["first block", "later block"])
@pytest.mark.parametrize("whom", ["launcher", "keeper"])
async def test_when_the_tree_is_killed_no_block_is_blamed_and_the_host_goes_on(
    tmp_path: Path, whom: str, *, fresh: bool
) -> None:
    def kill_tree() -> None:
        """Kill all while the block runs."""
        os.kill(victim, signal.SIGKILL)

    async with Host(tier="jail", cache_dir=tmp_path) as host:
        session, other = [await host.open(tools=[Tool.of(kill_tree)]) for _ in range(2)]
        first = launched(host)
        victim = first if whom == "launcher" else children(first)[0]
        if not fresh:
            assert (await session.run("x = 1")).status is Status.OK
        with pytest.raises(HostGoneError, match="dmesg"):
            await session.run("kill_tree()\nwhile True: pass")
        assert not session.alive
        with pytest.raises(HostGoneError):  # it had no block when it ended
            await other.run("print(1)")
        opened = await asyncio.gather(*(host.open() for _ in range(3)))
        for number, again in enumerate(opened):
            assert (await again.run(f"print({number})")).output == f"{number}\n"
        assert launched(host) != first
        kill_all_sessions(host)
        async with await host.open() as again:  # also when nobody has noticed yet
            assert (await again.run("print(2)")).output == "2\n"
    for pid in (first, launched(host)):
        assert not runs(pid)


async def test_a_session_that_ends_alone_is_the_doing_of_its_block(host: Host) -> None:
    def kill_supervisor() -> None:
        """Kill what watches over the guest, as a guest that found a way would."""
        supervisor = int(Path(f"/proc/{session.pid}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(supervisor, signal.SIGKILL)

    async with await host.open(tools=[Tool.of(kill_supervisor)]) as session:
        outcome = await session.run("kill_supervisor()\nwhile True: pass")
        assert outcome.status is Status.KILLED
        assert outcome.state is State.RESTORED
        await session.run("x = 1")
        outcome = await session.run("kill_supervisor()\nwhile True: pass")
        assert outcome.state is State.LOST
    assert (await printed(host)) == "1\n"


async def printed(host: Host) -> str:
    async with await host.open() as session:
        return (await session.run("print(1)")).output


async def test_a_tree_that_does_not_start_again_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Host(tier="jail", cache_dir=tmp_path) as host:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "executable", "/bin/false")
            kill_all_sessions(host)
            with pytest.raises(HostGoneError, match=r"do not start again .*dmesg"):
                await host.open()
        assert await printed(host) == "1\n"  # there is memory again


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

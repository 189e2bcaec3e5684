"""What a killed block costs: its own variables where there is a checkpoint, the session where there is none."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from maia.sandbox import Host, Limits, Session, SessionError, SessionLostError, State, Status, Tool

pytestmark = pytest.mark.asyncio(loop_scope="session")

DIE = "import os\nos._exit(1)"
HARD = "sum(range(10**12))"


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=["jail", "landlock"])
async def any_host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Host]:
    async with Host(tier=request.param, cache_dir=tmp_path_factory.mktemp("cache")) as running:
        assert {feature.name: feature.enforced for feature in running.features}["checkpoints"]
        yield running


async def checkpointed(session: Session) -> None:
    assert session._checkpointing is not None
    await session._checkpointing


async def test_a_killed_block_costs_its_own_variables_only(any_host: Host) -> None:
    async with await any_host.open(policy="off", limits=Limits(wall_s=0.2)) as session:
        assert (await session.run("kept = [1, 2]\nlog = ['a']")).state is State.KEPT
        for _ in range(3):
            outcome = await session.run(f"kept.append(3)\nlost = 1\n{HARD}")
            assert outcome.status is Status.WALL_CLOCK
            assert outcome.state is State.RESTORED
            assert (await session.run("print(kept, 'lost' in dir())")).output == "[1, 2] False\n"


async def test_the_first_block_can_be_killed_too(any_host: Host) -> None:
    async with await any_host.open(policy="off", constants={"word": "here"}) as session:
        assert (await session.run(DIE)).state is State.RESTORED
        assert (await session.run("print(word)")).output == "here\n"


async def test_random_numbers_go_on_as_if_the_killed_block_had_not_run(any_host: Host) -> None:
    draw = "print(random.random(), np.random.rand())"
    async with await any_host.open(policy="off", seed=7) as killed, await any_host.open(policy="off", seed=7) as plain:
        assert (await killed.run(draw)).output == (await plain.run(draw)).output
        assert (await killed.run(f"{draw}\n{DIE}")).state is State.RESTORED
        assert (await killed.run(draw)).output == (await plain.run(draw)).output


async def test_tool_calls_go_on_after_a_kill(any_host: Host) -> None:
    seen: list[int] = []

    def note(number: int) -> int:
        """Remember a number."""
        seen.append(number)
        return number

    async with await any_host.open(policy="off", tools=[Tool.of(note)]) as session:
        assert (await session.run("print(note(1))")).output == "1\n"
        assert (await session.run(f"note(2)\nnote(3)\n{DIE}")).state is State.RESTORED
        outcome = await session.run("print(note(4))")
    assert outcome.output == "4\n"
    assert seen == [1, 2, 3, 4]


async def test_what_the_dead_left_in_the_channel_does_not_reach_its_successor(any_host: Host) -> None:
    def large() -> bytes:
        """More than a socket holds."""
        return bytes(8 << 20)

    half_a_frame = "import os\nos.write(1000, b'\\0\\0\\xff\\xff' + bytes(1000))\nimport time\ntime.sleep(60)"
    unread = """
import os, time
from maia.execution.v1 import execution_pb2 as pb
from maia.sandbox.protocol.frames import encode
os.write(1000, encode(pb.GuestFrame(tool_call=pb.ToolCall(call_id=1, name="large"))))
time.sleep(60)
"""
    tools = [Tool.of(large)]
    async with await any_host.open(policy="off", tools=tools, limits=Limits(wall_s=0.3)) as session:
        await session.run("x = 'still here'\nimport signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)")
        for block in (half_a_frame, unread):
            outcome = await session.run(block)
            assert outcome.status is Status.WALL_CLOCK
            assert outcome.state is State.RESTORED
            assert (await session.run("print(x)")).output == "still here\n"
        assert (await session.run("print(len(large()))")).output == f"{8 << 20}\n"


async def test_the_files_of_a_killed_block_stay(any_host: Host) -> None:
    async with await any_host.open(policy="off") as session:
        await session.run("x = 1")
        await session.run(f"open('note', 'w').write('written')\n{DIE}")
        assert (await session.run("print(open('note').read())")).output == "written\n"


async def test_a_session_without_its_checkpoint_is_lost_and_says_so(any_host: Host) -> None:
    async with await any_host.open(policy="off") as session:
        await session.run("x = 1")
        await checkpointed(session)
        assert session.pid is not None
        for copy in children(session.pid):  # the last one may still be dying
            os.kill(copy, signal.SIGKILL)
            async with asyncio.timeout(5):
                while state_of(copy) not in ("Z", "gone"):  # noqa: ASYNC110  no event is set
                    await asyncio.sleep(0.01)
        outcome = await session.run(DIE)
        assert outcome.state is State.LOST
        assert "all variables are lost" in outcome.message
        assert not session.alive
        with pytest.raises(SessionLostError, match="open another"):
            await session.run("pass")


async def test_a_session_has_at_most_two_processes_of_guest_code(any_host: Host) -> None:
    async with await any_host.open(policy="off") as session:
        for _ in range(3):
            await session.run("import os\ntry:\n    os.fork()\nexcept OSError:\n    pass")
            await checkpointed(session)
            assert session.pid is not None
            async with asyncio.timeout(5):  # the last one dies, and the new one stops, a moment later
                while [state_of(copy) for copy in children(session.pid)] != ["T"]:  # noqa: ASYNC110  no event is set
                    await asyncio.sleep(0.01)


async def test_where_nothing_bounds_forks_a_killed_block_costs_the_session(tmp_path: Path) -> None:
    async with Host(tier="none", allow_unisolated=True, cache_dir=tmp_path) as host:
        assert not {feature.name: feature.enforced for feature in host.features}["checkpoints"]
        async with await host.open(policy="off") as session:
            assert (await session.run(DIE)).state is State.RESTORED  # nothing was there before the first block
            assert (await session.run("x = 1")).state is State.KEPT
            outcome = await session.run(DIE)
            assert outcome.state is State.LOST
            assert "all variables are lost" in outcome.message


async def test_a_large_session_is_copied_lazily(any_host: Host) -> None:
    async with await any_host.open(policy="off", limits=Limits(memory_mb=2048)) as session:
        await session.run("big = np.ones(40_000_000)")
        await checkpointed(session)
        assert (await session.run(DIE)).state is State.RESTORED
        assert (await session.run("print(big.sum())")).output == "40000000.0\n"


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def state_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "gone"


async def test_closing_while_a_checkpoint_is_made_leaves_nothing(any_host: Host) -> None:
    for pause in (0.0, 0.001, 0.003):
        session = await any_host.open()
        await asyncio.sleep(pause)
        await session.close()
    async with await any_host.open() as session:
        assert (await session.run("print(1)")).output == "1\n"


async def test_a_process_that_hides_ends_its_session(any_host: Host) -> None:
    """Guest code takes the runner's place: when a checkpoint is asked for it forks, and says that it could not."""
    runner_replaced = """
import gc, os, time
from maia.execution.v1 import execution_pb2 as pb
from maia.sandbox.guest import runner
(own,) = [one for one in gc.get_objects() if isinstance(one, runner.Runner)]
def deny():
    if os.fork() == 0:
        while True:
            pass
    own._channel.send(pb.GuestFrame(checkpointed=pb.Checkpointed(made=False)))
own._leave_checkpoint = deny
"""
    async with await any_host.open(policy="off") as session:
        assert (await session.run(runner_replaced)).ok
        assert session.pid is not None
        await checkpointed(session)
        async with asyncio.timeout(5):
            while state_of(session.pid) != "gone":  # noqa: ASYNC110  no event is set
                await asyncio.sleep(0.01)
        assert (await session.run("pass")).state is State.LOST


async def test_another_thread_cannot_fork_in_the_runners_place(any_host: Host) -> None:
    racing = """
import os, threading, time
def race():
    end = time.monotonic() + 5
    while time.monotonic() < end:
        try:
            if os.fork() == 0:
                time.sleep(60)
        except OSError:
            pass
threading.Thread(target=race, daemon=True).start()
"""
    async with await any_host.open(policy="off") as session:
        assert (await session.run(racing)).ok
        await checkpointed(session)
        assert session.pid is not None
        assert len(children(session.pid)) == 1
        assert (await session.run("print(1)")).output == "1\n"


async def test_a_guest_killed_before_its_first_block_leaves_the_next_session_unharmed(any_host: Host) -> None:
    for _ in range(5):
        async with await any_host.open() as session:
            assert session.pid is not None
            os.kill(session.pid, signal.SIGKILL)
            assert (await session.run("x = 1")).state is State.RESTORED
            async with await any_host.open() as other:
                assert (await other.run("print(2)")).output == "2\n"


async def test_closing_while_a_guest_is_replaced_ends_the_block_and_leaves_nothing(any_host: Host) -> None:
    for pause in (0.0, 0.002, 0.004, 0.006, 0.01):
        session = await any_host.open(policy="off")
        running = asyncio.create_task(session.run(DIE))
        await asyncio.sleep(pause)
        await session.close()
        async with asyncio.timeout(5):
            try:
                await running
            except SessionError as error:
                assert "closed" in str(error)  # noqa: PT017  it may as well have ended before
        assert not session.alive


async def test_a_first_thread_that_ends_does_not_hide_its_child(any_host: Host) -> None:
    """The kernel gives the children of a thread that ends to another thread of the process."""
    hide = """
import ctypes, gc, os, threading, time
from maia.execution.v1 import execution_pb2 as pb
from maia.sandbox.guest import runner
(own,) = [one for one in gc.get_objects() if isinstance(one, runner.Runner)]
def follow():
    time.sleep(0.3)
    own._channel.send(pb.GuestFrame(checkpointed=pb.Checkpointed(made=False)))
    time.sleep(60)
def leave():
    if ctypes.PyDLL(None).syscall(56 if os.uname().machine == "x86_64" else 220, 0x01200011, 0, 0, 0, 0) == 0:
        while True:
            pass
    ctypes.CDLL(None).syscall(60 if os.uname().machine == "x86_64" else 93, 0)
threading.Thread(target=follow, daemon=True).start()
own._leave_checkpoint = leave
"""
    async with await any_host.open(policy="off") as session:
        assert (await session.run(hide)).ok
        await checkpointed(session)
        async with asyncio.timeout(8):
            while session.pid is not None and state_of(session.pid) != "gone":  # noqa: ASYNC110  no event is set
                await asyncio.sleep(0.01)
        try:
            assert (await session.run("pass")).state is State.LOST
        except SessionError:
            assert not session.alive  # it was found out while the checkpoint was made


async def test_work_in_place_of_a_checkpoint_ends_the_session(any_host: Host) -> None:
    async with await any_host.open(policy="off") as session:
        spin = """
import os, time
def spin():
    end = time.process_time() + 2.5
    while time.process_time() < end:
        pass
    raise OSError
os.fork = spin
"""
        assert (await session.run(spin)).ok
        with pytest.raises(SessionError, match="checkpoint"):
            await session.run("pass")

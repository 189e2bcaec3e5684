"""Sessions in a real jail: blocks, outcomes, limits, ends."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from maia.sandbox import Host, Limits, SessionError, State, Status
from maia.sandbox.protocol.source import MAX_SOURCE_BYTES

pytestmark = pytest.mark.asyncio(loop_scope="session")

SWALLOW = """
import time
while True:
    try:
        time.sleep(60)
    except BaseException:
        continue
"""


async def test_variables_persist_and_prints_come_back_in_order(host: Host) -> None:
    async with await host.open() as session:
        assert (await session.run("x = 20\ndef double(n):\n    return 2 * n")).ok
        outcome = await session.run("print(double(x) + 2, np.sqrt(4), Image.new('L', (2, 3)).size)")
    assert outcome.output == "42 2.0 (2, 3)\n"
    assert outcome.message == ""
    assert outcome.usage.output_bytes == len(outcome.output)
    assert outcome.usage.cpu_s > 0
    assert outcome.usage.peak_memory_bytes > 10 << 20


async def test_standard_output_and_errors_keep_their_order_and_stream(host: Host) -> None:
    pieces: list[str] = []
    async with await host.open(policy="off", on_output=pieces.append) as session:
        outcome = await session.run("import sys\nfor i in range(3):\n    print(i)\n    print('e', i, file=sys.stderr)")
    assert outcome.output == "0\ne 0\n1\ne 1\n2\ne 2\n"
    assert "".join(pieces) == outcome.output


async def test_an_exception_shows_the_blocks_lines_only(host: Host) -> None:
    async with await host.open() as session:
        await session.run("def f():\n    return np.linalg.inv(np.zeros((2, 2)))")
        outcome = await session.run("y = 1\nf()")
        after = await session.run("print(y)")
    assert outcome.status is Status.EXCEPTION
    assert 'File "<block 1>", line 2, in f' in outcome.message
    assert 'File "<block 2>", line 2' in outcome.message
    assert "LinAlgError" in outcome.message
    assert "site-packages" not in outcome.message
    assert "runner" not in outcome.message
    assert after.output == "1\n"


@pytest.mark.parametrize("source", ["x = (", "x = '\0'", "(" * 5000 + ")" * 5000])
async def test_code_that_does_not_parse_is_an_outcome(host: Host, source: str) -> None:
    async with await host.open() as session:
        outcome = await session.run(source)
        assert outcome.status is Status.EXCEPTION
        assert "SyntaxError" in outcome.message
        assert (await session.run("pass")).ok


async def test_the_policy_speaks_first_and_can_be_switched_off(host: Host) -> None:
    async with await host.open() as session, await host.open(policy="off") as plain:
        refused = await session.run("import os\nprint(os.getuid())")
        allowed = await plain.run("import os\nprint(os.getuid())")
    assert refused.status is Status.POLICY
    assert '"os"' in refused.message
    assert allowed.output == "65534\n"


async def test_code_that_is_no_text_or_too_long_is_refused_before_it_runs(host: Host) -> None:
    async with await host.open() as session:
        with pytest.raises(TypeError, match="bytes"):
            await session.run(b"pass")  # type: ignore[arg-type]  # what is tested
        with pytest.raises(ValueError, match="bytes of code"):
            await session.run("#" * (MAX_SOURCE_BYTES + 1))
        with pytest.raises(ValueError, match="surrogate"):
            await session.run("'\ud800'")
        assert (await session.run("#" * MAX_SOURCE_BYTES)).ok


@pytest.mark.parametrize(
    ("source", "limits", "status"),
    [
        ("import time\ntime.sleep(60)", Limits(wall_s=0.1), Status.WALL_CLOCK),
        ("while True:\n    pass", Limits(cpu_s=0.1), Status.CPU),
        ("keep = 'x' * (1 << 30)", Limits(memory_mb=128), Status.MEMORY),
        ("keep = np.zeros(1 << 28)", Limits(memory_mb=128), Status.MEMORY),
        ("while True:\n    print('x' * 100)", Limits(output_bytes=1000), Status.OUTPUT),
    ],
)
async def test_a_limit_is_an_outcome_and_variables_are_kept(
    host: Host, source: str, limits: Limits, status: Status
) -> None:
    async with await host.open(limits=limits) as session:
        await session.run("x = 1")
        outcome = await session.run(source)
        assert outcome.status is status
        assert outcome.state is State.KEPT
        assert len(outcome.message.splitlines()[0]) > 30
        assert (await session.run("print(x)")).output == "1\n"


@pytest.mark.parametrize(
    ("source", "limits", "status"),
    [
        (SWALLOW, Limits(wall_s=0.1), Status.WALL_CLOCK),
        ("sum(range(10**12))", Limits(cpu_s=0.1), Status.CPU),
        ("import threading\nwhile True:\n    pass", Limits(cpu_s=0.1), Status.CPU),
    ],
)
async def test_a_block_that_does_not_stop_is_killed(host: Host, source: str, limits: Limits, status: Status) -> None:
    if "threading" in source:
        source = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n" + source
    async with await host.open(limits=limits, policy="off") as session:
        await session.run("x = 1")
        outcome = await session.run("x = 2\n" + source)
        assert outcome.status is status
        assert outcome.state is State.RESTORED
        assert "those from before this block" in outcome.message
        assert (await session.run("print(x)")).output == "1\n"


async def test_output_is_cut_at_a_character_with_a_note(host: Host) -> None:
    async with await host.open(limits=Limits(output_bytes=301)) as session:
        outcome = await session.run("print('é' * 200)\ndone = True")
        after = await session.run("print(np.pi > 3)")
    assert outcome.status is Status.OUTPUT
    assert outcome.output == "é" * 150 + "\n[output cut at 301 bytes]\n"
    assert outcome.usage.output_bytes == 401
    assert after.output == "True\n"


async def test_bytes_that_are_no_text_are_replaced(host: Host) -> None:
    async with await host.open(policy="off") as session:
        outcome = await session.run("import os\nos.write(1, b'a\\xffb\\xc3')")
    assert outcome.output == "a\ufffdb\ufffd"


async def test_interrupt_stops_the_block_and_keeps_the_state(host: Host) -> None:
    started = asyncio.Event()
    async with await host.open(on_output=lambda _: started.set()) as session:
        session.interrupt()  # without a block: nothing
        running = asyncio.create_task(session.run("x = 5\nprint('go')\nwhile True:\n    pass"))
        await started.wait()
        with pytest.raises(SessionError, match="one at a time"):
            await session.run("pass")
        session.interrupt()
        outcome = await running
        assert outcome.status is Status.INTERRUPTED
        assert outcome.state is State.KEPT
        assert (await session.run("print(x)")).output == "5\n"


async def test_cancelling_a_run_ends_the_session_and_no_other(host: Host) -> None:
    started = asyncio.Event()
    session = await host.open(on_output=lambda _: started.set())
    async with await host.open() as other:
        running = asyncio.create_task(session.run("print('go')\nwhile True:\n    pass"))
        await started.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        with pytest.raises(SessionError, match="broken off"):
            await session.run("pass")
        assert (await other.run("print(1)")).output == "1\n"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import os\nos._exit(3)", "exit status 3"),
        ("import ctypes\nctypes.string_at(0)", "SIGSEGV"),
        ("import os\nos.abort()", "crashed"),
    ],
)
async def test_a_guest_that_dies_says_how(host: Host, source: str, said: str) -> None:
    async with await host.open(policy="off") as session:
        outcome = await session.run("print('before', flush=True)\n" + source)
    assert outcome.status is Status.KILLED
    assert outcome.state is State.RESTORED
    assert said in outcome.message
    assert outcome.output == "before\n"


async def test_a_guest_killed_between_blocks_ends_its_session_only(host: Host) -> None:
    async with await host.open() as session, await host.open() as other:
        await session.run("x = 1")
        assert session.pid is not None
        os.kill(session.pid, signal.SIGKILL)
        outcome = await session.run("print(x)")
        assert outcome.state in (State.RESTORED, State.LOST)  # lost where the checkpoint had not been made yet
        assert outcome.output == ""
        assert (await other.run("print(2)")).output == "2\n"


async def test_between_blocks_a_guest_gets_no_cpu(host: Host) -> None:
    def stat() -> list[str]:
        return Path(f"/proc/{session.pid}/stat").read_text().rpartition(")")[2].split()

    async with await host.open(policy="off") as session:
        await session.run("import threading\ndef spin():\n    while True: pass\nthreading.Thread(target=spin).start()")
        assert session._checkpointing is not None
        await session._checkpointing
        while stat()[0] != "T":  # noqa: ASYNC110  the kernel sets no event
            await asyncio.sleep(0.01)
        before = stat()[11]
        await asyncio.sleep(0.1)
        assert stat()[11] == before


async def test_the_seed_makes_sessions_repeat(host: Host) -> None:
    draw = "print(random.random(), np.random.rand(), hash('text'))"
    outputs = []
    for seed in (1, 1, 2**64 - 1):
        async with await host.open(seed=seed) as session:
            outputs.append((await session.run(draw)).output)
    assert outputs[0] == outputs[1] != outputs[2]


async def test_what_a_session_opens_with_is_checked_first(host: Host) -> None:
    with pytest.raises(ValueError, match="seed"):
        await host.open(seed=-1)
    with pytest.raises(ValueError, match="policy"):
        await host.open(policy="lax")  # type: ignore[arg-type]  # what is tested
    with pytest.raises(ValueError, match="wall_s"):
        Limits(wall_s=0)
    with pytest.raises(ValueError, match=r"twice|both"):
        await host.open(constants={"a": 1, "a.b": 2})


async def test_a_closed_session_says_so(host: Host) -> None:
    session = await host.open()
    await session.close()
    await session.close()
    with pytest.raises(SessionError, match="closed"):
        await session.run("pass")


async def test_closing_a_session_ends_the_block_that_runs(host: Host) -> None:
    started = asyncio.Event()
    session = await host.open(on_output=lambda _: started.set())
    running = asyncio.create_task(session.run("print('go')\nwhile True:\n    pass"))
    await started.wait()
    await session.close()
    with pytest.raises(SessionError, match="closed"):
        await running


async def test_an_interrupt_before_the_guest_hears_is_not_lost(host: Host) -> None:
    async with await host.open(policy="off") as session:
        for _ in range(10):
            await session.run("x = 1")
            running = asyncio.create_task(session.run("while True:\n    pass"))
            await asyncio.sleep(0)
            session.interrupt()
            outcome = await running
            assert outcome.status is Status.INTERRUPTED
            assert outcome.state is State.KEPT
            assert outcome.usage.wall_s < 0.3


async def test_a_block_is_interrupted_once_however_often_it_is_asked(host: Host) -> None:
    source = """
import time
times = 0
try:
    time.sleep(60)
except BaseException:
    times += 1
    time.sleep(0.15)
    times += 1
"""
    async with await host.open(policy="off", limits=Limits(wall_s=0.2)) as session:
        assert (await session.run(source)).status is Status.WALL_CLOCK
        assert (await session.run("print(times)")).output == "2\n"

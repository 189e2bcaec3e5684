"""Sessions at another host, over real gRPC: what a local session does, a remote one does too."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.unit.sandbox.host.trees import kill_all_sessions

from maia.execution.v1 import execution_pb2 as pb
from maia.execution.v1 import execution_pb2_grpc
from maia.sandbox import (
    Host,
    HostGoneError,
    ImageRef,
    Limits,
    Pixels,
    RemoteHost,
    Sandbox,
    SandboxError,
    SessionError,
    SessionLostError,
    SessionsFullError,
    State,
    Status,
    Tool,
    ToolError,
)
from maia.sandbox.remote.metrics import SandboxMetrics
from maia.sandbox.remote.servicer import ExecutionServicer, execution_service
from maia.wire.channels import open_channel
from maia.wire.errors import AbortedError, InvalidRequestError, MaiaError
from maia.wire.server import running
from maia.wire.status import from_rpc

pytestmark = pytest.mark.asyncio(loop_scope="session")

SESSION_LIMIT = 12
FORGE = (
    "import gc\nrunner = next(o for o in gc.get_objects() if type(o).__name__ == 'Runner')\n"
    "runner.call('nothing', [], {})"
)
"""Calls a tool that the session does not have."""
RED = Pixels("RGB", 2, 1, b"\xff\x00\x00" * 2)


class Table:
    """Two images: a view and what it is a view of."""

    async def pixels(self, ref_id: str) -> Pixels:
        if ref_id != "view":
            raise ToolError(f"there is no image {ref_id!r} in this session")
        return RED

    async def encoded(self, ref_id: str) -> bytes:
        return b"\x89PNG"

    def source(self, ref_id: str) -> ImageRef:
        return ImageRef("original", 2, 1)


async def echo(*values: object) -> list[object]:
    """Return the arguments."""
    return list(values)


def names(prompts: str | list[str], size: int = 3) -> list[str]:
    """Name things."""
    return [f"{prompt}{size}" for prompt in ([prompts] if isinstance(prompts, str) else prompts)]


async def fail(kind: str) -> None:
    """Fail."""
    if kind == "caller":
        raise ToolError("there is no such thing")
    raise RuntimeError("the server is down")


async def view() -> ImageRef:
    """A masked view."""
    return ImageRef("view", 2, 1)


TOOLS = [Tool.of(echo, "tools.echo"), Tool.of(names, "names"), Tool.of(fail, "tools.fail"), Tool.of(view, "view")]


async def sessions_of(host: RemoteHost) -> int:
    """How many sessions the host has, as it says itself."""
    async with RemoteHost(host.address) as asked:
        return asked.sessions


async def test_the_host_says_how_it_isolates(remote: RemoteHost, host: Host) -> None:
    assert (remote.tier, remote.features, remote.session_limit) == (host.tier, host.features, SESSION_LIMIT)
    async with await remote.open() as session:
        assert (session.tier, session.features) == (host.tier, host.features)
        assert await sessions_of(remote) == 1
    assert await sessions_of(remote) == 0


async def test_blocks_share_their_variables_and_values_travel_both_ways(remote: RemoteHost) -> None:
    async with await remote.open(tools=TOOLS, constants={"system.layer": "layer4"}, images=Table()) as session:
        assert (await session.run("given = [1, 2.5, 'é', None, True, (1, [2]), {'a': 1}, 10**30, b'x']")).ok
        outcome = await session.run(
            "print(tools.echo(*given) == given, tools.echo(np.arange(3))[0].sum(), names(('a', 'b'), size=1))\n"
            "print(system.layer, view().array().tolist(), view().source)"
        )
    assert outcome.output == "True 3 ['a1', 'b1']\nlayer4 [[[255, 0, 0], [255, 0, 0]]] <Image 2x1 original>\n"
    assert outcome.ok
    assert outcome.usage.tool_calls == 7
    assert outcome.usage.tool_s > 0


async def test_the_seed_and_the_policy_travel(remote: RemoteHost) -> None:
    code = "import random\nprint(random.random(), np.random.rand())"
    outputs = []
    for seed in (1, 1, 2):
        async with await remote.open(seed=seed) as session:
            outputs.append((await session.run(code)).output)
    assert outputs[0] == outputs[1] != outputs[2]
    async with await remote.open() as restricted, await remote.open(policy="off") as off:
        assert (await restricted.run("import os")).status is Status.POLICY
        assert (await off.run("import os")).ok


async def test_an_exception_and_a_wrong_call_are_outcomes(remote: RemoteHost) -> None:
    async with await remote.open(tools=TOOLS) as session:
        divided = await session.run("1 / 0")
        wrong = await session.run("names([1])")
        caught = await session.run("try:\n    tools.fail('caller')\nexcept ToolError as e:\n    print('caught', e)")
    assert divided.status is Status.EXCEPTION
    assert "ZeroDivisionError" in divided.message
    assert "ToolError: names: prompts[0] must be str, not int" in wrong.message
    assert caught.output == "caught there is no such thing\n"


async def test_output_comes_while_the_block_runs_and_before_the_call_that_follows_it(remote: RemoteHost) -> None:
    seen: list[str] = []
    at_call: list[str] = []

    def look() -> None:
        """Look."""
        at_call.append("".join(seen))

    code = "print('one')\nlook()\nprint('two', end='')\nlook()\nprint('é' * 3)"
    async with await remote.open(tools=[Tool.of(look)], on_output=seen.append) as session:
        outcome = await session.run(code)
    assert at_call == ["one\n", "one\ntwo"]
    assert "".join(seen) == outcome.output == "one\ntwoééé\n"


async def test_the_wall_clock_stands_still_during_a_tool_call(remote: RemoteHost) -> None:
    async def slow() -> None:
        """Wait."""
        await asyncio.sleep(0.5)

    async with await remote.open(tools=[Tool.of(slow)], limits=Limits(wall_s=0.3)) as session:
        outcome = await session.run("slow()\nprint('still here')")
        endless = await session.run("while True: pass")
    assert outcome.output == "still here\n"
    assert outcome.usage.tool_s >= 0.5
    assert endless.status is Status.WALL_CLOCK
    assert endless.state is State.KEPT


async def test_interrupt_stops_a_block_and_gives_up_its_tool_call(remote: RemoteHost) -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        """Wait."""
        started.set()
        try:
            await asyncio.sleep(30)
        finally:
            cancelled.set()

    async with await remote.open(tools=[Tool.of(slow), *TOOLS]) as session:
        session.interrupt()  # nothing runs: nothing happens
        running_block = asyncio.create_task(session.run("x = 1\nslow()"))
        await started.wait()
        session.interrupt()
        outcome = await running_block
        assert cancelled.is_set()
        assert (outcome.status, outcome.state) == (Status.INTERRUPTED, State.KEPT)
        spinning = asyncio.create_task(session.run("while True: pass"))
        await asyncio.sleep(0.1)
        session.interrupt()
        assert (await spinning).status is Status.INTERRUPTED
        assert (await session.run("print(x, names('a'))")).output == "1 ['a3']\n"


async def test_an_interrupt_that_comes_at_once_is_not_lost(remote: RemoteHost, host: Host) -> None:
    async with await remote.open() as there, await host.open() as here:
        for session in (there, here) * 5:
            assert (await session.run("pass")).ok
            running_block = asyncio.create_task(session.run("while True: pass"))
            await asyncio.sleep(0)
            session.interrupt()
            async with asyncio.timeout(10):
                assert (await running_block).status is Status.INTERRUPTED
            if not session.alive:  # it was asked before it could be stopped softly, and there was no checkpoint
                break


async def test_a_limit_gives_up_the_tool_call_of_the_client(remote: RemoteHost) -> None:
    cancelled = asyncio.Event()

    async def slow() -> None:
        """Wait."""
        try:
            await asyncio.sleep(30)
        finally:
            cancelled.set()

    spin = (
        "import threading\ndef spin():\n    while True: pass\n"
        "threading.Thread(target=spin, daemon=True).start()\nslow()"
    )
    async with await remote.open(tools=[Tool.of(slow)], limits=Limits(cpu_s=0.2), policy="off") as session:
        assert (await session.run(spin)).status is Status.CPU
        assert cancelled.is_set()


async def test_quotas_hold(remote: RemoteHost) -> None:
    limits = Limits(tool_calls=2, images=0, tool_bytes=100_000)
    async with await remote.open(tools=TOOLS, limits=limits, images=Table()) as session:
        images = await session.run("view().pil()")
        large = await session.run("tools.echo(bytes(200_000))")
        outcome = await session.run("print(names('a'))\nnames('b')")
    assert "(images)" in images.message
    assert "(tool_bytes)" in large.message
    assert outcome.output == "['a3']\n"
    assert "(tool_calls)" in outcome.message


async def test_a_tool_that_fails_by_itself_ends_the_session_with_its_error(remote: RemoteHost) -> None:
    session = await remote.open(tools=TOOLS)
    with pytest.raises(RuntimeError, match="the server is down"):
        await session.run("try:\n    tools.fail('system')\nexcept BaseException:\n    print('hidden')")
    assert not session.alive
    with pytest.raises(SessionError, match="RuntimeError"):
        await session.run("pass")
    assert await eventually_none(remote)


async def eventually_none(remote: RemoteHost) -> bool:
    """Whether the host has no session left, soon."""
    for _ in range(100):
        if await sessions_of(remote) == 0:
            return True
        await asyncio.sleep(0.02)
    return False


async def test_what_on_output_raises_leaves_run(remote: RemoteHost) -> None:
    def refuse(text: str) -> None:
        raise LookupError(text)

    session = await remote.open(on_output=refuse)
    with pytest.raises(LookupError, match="x"):
        await session.run("print('x')")
    assert not session.alive


async def test_a_guest_that_is_killed_is_told_as_it_is_here(remote: RemoteHost, host: Host) -> None:
    code = "x = 2\nimport os\nos._exit(3)"
    async with await remote.open(policy="off") as there, await host.open(policy="off") as here:
        await there.run("x = 1")
        await here.run("x = 1")
        outcome = await there.run(code)
        local = await here.run(code)
        assert (outcome.status, outcome.state) == (local.status, local.state)
        if outcome.state is State.RESTORED:
            assert (await there.run("print(x)")).output == "1\n"
        else:
            with pytest.raises(SessionLostError):
                await there.run("pass")


async def test_a_guest_that_breaks_the_protocol_ends_its_session_and_no_other(remote: RemoteHost) -> None:
    async with await remote.open(policy="off") as other:
        session = await remote.open(policy="off")
        with pytest.raises(SessionError, match="'nothing', which is no tool of this session"):
            await session.run(FORGE)
        assert not session.alive
        assert (await other.run("print(1)")).output == "1\n"


async def test_a_full_host_refuses_clearly_and_has_room_again(remote: RemoteHost) -> None:
    sessions = await asyncio.gather(*(remote.open() for _ in range(SESSION_LIMIT)))
    with pytest.raises(SessionsFullError, match=f"{SESSION_LIMIT} open sessions.*{remote.address}") as refused:
        await remote.open()
    assert refused.value.retry_after_s > 0
    outcomes = await asyncio.gather(*(session.run(f"print({i})") for i, session in enumerate(sessions)))
    assert [outcome.output for outcome in outcomes] == [f"{i}\n" for i in range(SESSION_LIMIT)]
    await sessions[0].close()
    async with await remote.open() as session:
        assert (await session.run("print(1)")).ok
    for session in sessions:
        await session.close()


async def test_sessions_go_to_the_hosts_of_a_list_that_have_room(host: Host) -> None:
    async with (
        running([execution_service(host, 1)]) as small,
        running([execution_service(host, 2)]) as large,
        RemoteHost(f"{small.address},{large.address}") as both,
    ):
        sessions = [await both.open() for _ in range(3)]
        assert [(await session.run("print(1)")).output for session in sessions] == ["1\n"] * 3
        with pytest.raises(SessionsFullError):
            await both.open()
        for session in sessions:
            await session.close()


class Unreachable(ExecutionServicer):
    """Serves, as far as its health tells, and opens no session."""

    async def Session(self, requests: object, context: Any) -> None:  # type: ignore[override]  # noqa: N802
        await context.abort(grpc.StatusCode.UNAVAILABLE, "Connection timed out")


async def test_a_session_is_opened_at_another_host_where_one_cannot_be_reached(host: Host) -> None:
    gone = replace(execution_service(host, 1), servicer=Unreachable(host, 1))
    async with (
        running([gone]) as there,
        running([execution_service(host, 9)]) as here,
        RemoteHost(f"{there.address},{here.address}") as both,
    ):
        for _ in range(2):
            async with await both.open() as session:
                assert (await session.run("print(1)")).ok
    async with running([gone]) as there, RemoteHost(there.address) as alone:
        with pytest.raises(HostGoneError, match="Connection timed out"):
            await alone.open()


async def test_a_client_that_dies_leaves_nothing(remote: RemoteHost) -> None:
    program = (
        "import asyncio, sys\n"
        "from maia.sandbox import RemoteHost\n"
        "async def main():\n"
        "    async with RemoteHost(sys.argv[1]) as host, await host.open() as session:\n"
        "        print('open', flush=True)\n"
        "        await session.run('while True: pass')\n"
        "asyncio.run(main())\n"
    )
    client = await asyncio.create_subprocess_exec(sys.executable, "-c", program, remote.address, stdout=subprocess.PIPE)
    assert client.stdout is not None
    assert await client.stdout.readline() == b"open\n"
    assert await sessions_of(remote) == 1
    client.kill()
    await client.wait()
    assert await eventually_none(remote)


async def test_run_that_is_cancelled_ends_the_session(remote: RemoteHost) -> None:
    session = await remote.open()
    task = asyncio.create_task(session.run("while True: pass"))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(SessionError, match="broken off"):
        await session.run("pass")
    assert await eventually_none(remote)


async def test_use_after_close_and_two_blocks_at_once(remote: RemoteHost) -> None:
    session = await remote.open()
    first = asyncio.create_task(session.run("x = 1"))
    await asyncio.sleep(0)
    with pytest.raises(SessionError, match="one at a time"):
        await session.run("pass")
    assert (await first).ok
    running_block = asyncio.create_task(session.run("while True: pass"))
    await asyncio.sleep(0.05)
    await session.close()
    await session.close()
    with pytest.raises(SessionError, match="closed"):
        await running_block
    with pytest.raises(SessionError, match="closed"):
        await session.run("pass")


async def test_a_host_that_goes_away_ends_its_sessions_with_its_address(host: Host) -> None:
    async with running([execution_service(host, 5)]) as server, RemoteHost(server.address) as remote:
        idle = await remote.open()
        busy = await remote.open()
        running_block = asyncio.create_task(busy.run("while True: pass"))
        await asyncio.sleep(0.1)
        await server.abort()
        with pytest.raises(HostGoneError, match=server.address):
            await running_block
        for _ in range(100):
            if not idle.alive:
                break
            await asyncio.sleep(0.02)
        with pytest.raises(HostGoneError, match=server.address):
            await idle.run("pass")
        with pytest.raises(SandboxError, match=server.address):
            await remote.open()


async def test_a_host_whose_processes_are_killed_blames_no_block_and_serves_on(tmp_path: Path) -> None:
    async with (
        Host(tier="jail", cache_dir=tmp_path) as host,
        running([execution_service(host, 5)]) as server,
        RemoteHost(server.address) as remote,
    ):
        session = await remote.open()
        running_block = asyncio.create_task(session.run("while True: pass"))
        await asyncio.sleep(0.1)
        kill_all_sessions(host)
        with pytest.raises(HostGoneError, match="dmesg"):
            await running_block
        async with await remote.open() as again:
            assert (await again.run("print(1)")).output == "1\n"


async def test_nobody_there() -> None:
    with pytest.raises(SandboxError, match=r"sandbox host at 127\.0\.0\.1:1 does not answer"):
        async with RemoteHost("127.0.0.1:1"):
            pass
    with pytest.raises(SandboxError, match="not open"):
        await RemoteHost("127.0.0.1:1").open()


@pytest.mark.parametrize(("address", "said"), [("here", "no address"), ("192.0.2.1:7416", "not on this machine")])
async def test_a_wrong_address_is_refused_at_once(address: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        RemoteHost(address)
    with pytest.raises(ValueError, match=said):
        Sandbox(address=address)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"tools": [TOOLS[1], TOOLS[1]]}, "'names' is given twice"),
        ({"tools": TOOLS, "constants": {"names.x": 1}}, "both"),
        ({"seed": -1}, "seed -1"),
        ({"policy": "loose"}, "policy 'loose'"),
        ({"limits": Limits(output_bytes=2**30)}, "output_bytes"),
    ],
)
async def test_what_cannot_be_opened_is_refused_before_anything_is_sent(
    remote: RemoteHost, arguments: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        await remote.open(**arguments)


async def test_code_that_is_no_text_or_too_long_is_refused_before_it_is_sent(remote: RemoteHost) -> None:
    async with await remote.open() as session:
        with pytest.raises(TypeError, match="must be text, not bytes"):
            await session.run(b"pass")  # type: ignore[arg-type]  # what is tested
        for code, said in (("#" * (1 << 20) + "#", "bytes of code"), ("x = '\ud800'", "lone surrogate")):
            with pytest.raises(ValueError, match=said):
                await session.run(code)
        for code, word in (("x = '\0'", "NUL"), ("(" * 300 + ")" * 300, "nested"), ("-" * 100_000 + "1", "nested")):
            outcome = await session.run(f"print('ran')\n{code}")
            assert outcome.output == ""
            assert word in outcome.message
        assert (await session.run("print(1)")).output == "1\n"


async def test_the_front_door(address: str) -> None:
    def search(word: str) -> str:
        """Search."""
        return word.upper()

    async with Sandbox(tools=[search], address=address) as box:
        assert box.alive
        assert box.tier
        assert (await box.run("print(search('lamp'))")).output == "LAMP\n"
    assert not box.alive


# What clients of other makes may send


Requests = list[pb.SessionRequest]
OPEN = pb.SessionRequest(open=pb.OpenSession())


def block(block_id: int, source: str) -> pb.SessionRequest:
    return pb.SessionRequest(run_block=pb.RunBlock(block_id=block_id, source=source))


@pytest.mark.parametrize(
    ("requests", "said"),
    [
        ([], "first request"),
        ([block(1, "pass")], "first request"),
        ([pb.SessionRequest()], "first request"),
        ([pb.SessionRequest(open=pb.OpenSession(limits=pb.Limits(wall_s=0)))], "wall_s"),
        ([OPEN, OPEN], "kind open"),
        ([OPEN, pb.SessionRequest()], "kind None"),
        ([OPEN, block(2, "pass")], "block 2 where 1 comes next"),
        ([OPEN, block(1, "while True: pass"), block(2, "pass")], "block 2 while block 1 runs"),
        ([OPEN, block(1, "#" * (1 << 20) + "#")], "bytes of code"),
        ([OPEN, pb.SessionRequest(tool_result=pb.ToolResult(call_id=1, error="x"))], "tool call 1"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_requests_out_of_order_end_the_stream_with_the_reason(
    remote: RemoteHost, requests: Requests, said: str
) -> None:
    error = await refusal(remote, requests)
    assert isinstance(error, InvalidRequestError)
    assert error.reason == "SESSION_REQUEST_INVALID"
    assert said in error.message
    assert await eventually_none(remote)


async def refusal(remote: RemoteHost, requests: Requests) -> MaiaError:
    """Send requests, read to the end, and return the error."""

    async def sent() -> AsyncIterator[pb.SessionRequest]:
        for request in requests:
            yield request
        if requests:  # the stream stays open: its end would end the session
            await asyncio.Event().wait()

    async with open_channel(remote.address) as channel:
        stub = execution_pb2_grpc.ExecutionServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in stub.Session(sent(), timeout=20):
                pass
    return from_rpc(caught.value, server="sandbox host")


async def test_a_broken_session_is_aborted(remote: RemoteHost) -> None:
    opened = pb.SessionRequest(open=pb.OpenSession(policy=pb.POLICY_OFF))
    async with open_channel(remote.address) as channel:
        call = execution_pb2_grpc.ExecutionServiceStub(channel).Session(timeout=20)
        for request in (opened, block(1, FORGE)):
            await call.write(request)
        assert isinstance(await call.read(), pb.SessionResponse)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
    error = from_rpc(caught.value, server="sandbox host")
    assert isinstance(error, AbortedError)
    assert error.reason == "SESSION_BROKEN"


async def test_the_close_request_ends_the_stream(remote: RemoteHost) -> None:
    async with open_channel(remote.address) as channel:
        call = execution_pb2_grpc.ExecutionServiceStub(channel).Session(timeout=20)
        await call.write(OPEN)
        await call.write(pb.SessionRequest(close=pb.CloseSession()))
        kinds = []
        while isinstance(response := await call.read(), pb.SessionResponse):
            kinds.append(response.WhichOneof("kind"))
        assert kinds == ["opened"]
        assert await call.code() is grpc.StatusCode.OK


async def test_fifty_megabytes_make_the_way_there_and_back(remote: RemoteHost) -> None:
    async with await remote.open(tools=TOOLS, limits=Limits(memory_mb=2048)) as session:
        outcome = await session.run(f"a = np.ones(({50 << 20},), np.uint8)\nprint(tools.echo(a)[0].sum())")
    assert outcome.output == f"{50 << 20}\n", outcome.message


async def test_operators_see_sessions_and_how_blocks_ended(host: Host) -> None:
    metrics = SandboxMetrics()

    def told(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(name, labels)

    async with running([execution_service(host, 1, metrics)]) as server, RemoteHost(server.address) as remote:
        session = await remote.open()
        await session.run("x = 1")
        await session.run("1 / 0")
        assert told("maia_sessions") == 1
        with pytest.raises(SessionsFullError):
            await remote.open()
        await session.close()
    assert (told("maia_sessions_opened_total"), told("maia_sessions_refused_total")) == (1, 1)
    assert told("maia_blocks_total", outcome="ok") == 1
    assert told("maia_blocks_total", outcome="exception") == 1
    assert told("maia_block_seconds_count") == 2
    assert told("maia_sessions") == 0

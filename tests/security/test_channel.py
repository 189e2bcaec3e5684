"""Attacks on the channel: frames that native code in a guest forges, and their order."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from tests.security.attack import LIMITS, Result, Tier, each, once_in_containers
from tests.security.conftest import Attack

from maia.execution.v1 import execution_pb2 as pb
from maia.sandbox import Host, ImageRef, Session, SessionError, State, Tool
from maia.sandbox.host import broker
from maia.sandbox.host.output import Output
from maia.sandbox.protocol.census import MAX_MESSAGES, MAX_TEXT_BYTES
from maia.sandbox.protocol.frames import encode
from maia.sandbox.protocol.values import MAX_DIGITS, decode_call, encode_value

pytestmark = [pytest.mark.asyncio(loop_scope="session"), once_in_containers]


def tool_call(**fields: object) -> pb.GuestFrame:
    return pb.GuestFrame(tool_call=pb.ToolCall(**{"call_id": 1, "name": "touch", **fields}))  # type: ignore[arg-type]


def ended(**fields: object) -> pb.GuestFrame:
    return pb.GuestFrame(block_ended=pb.GuestBlockEnded(**{"block_id": 1, "status": pb.STATUS_OK, **fields}))  # type: ignore[arg-type]


def nested(depth: int) -> pb.Value:
    value = encode_value(0)
    for _ in range(depth):
        value = pb.Value(list=pb.Sequence(items=[value]))
    return value


FORGERIES = {
    # what is no frame
    "a length of 4 GiB": b"\xff\xff\xff\xff",
    "a length just beyond the bound": (64 * 1024 * 1024 + 1).to_bytes(4, "big"),
    "an empty frame": b"\0\0\0\0",
    "noise": b"\0\0\0\x08" + b"\xde\xad\xbe\xef" * 2,
    "a number of eleven bytes": b"\0\0\0\x0d" + b"\x18" + b"\xff" * 11 + b"\x01",
    "a message that is longer than its frame": b"\0\0\0\x04" + b"\x1a\x7f\x08\x01",
    "a group, as old messages had": b"\0\0\0\x02" + b"\x0b\x0c",
    "text that is no UTF-8": b"\0\0\0\x08" + b"\x22\x06\x10\x01\x1a\x02\xff\xfe",
    "a frame of another direction": encode(pb.HostFrame(run_block=pb.RunBlock(block_id=1, source="x"))),
    "a frame of a kind that there is not": b"\0\0\0\x02" + b"\xaa\x06",
    # what comes at the wrong time
    "the ready frame again": encode(pb.GuestFrame(ready=pb.GuestReady())),
    "the word of a checkpoint that nobody asked for": encode(pb.GuestFrame(checkpointed=pb.Checkpointed(made=True))),
    "the word that there is no checkpoint": encode(pb.GuestFrame(checkpointed=pb.Checkpointed(made=False))),
    "the end of another block": encode(ended(block_id=7)),
    "the end of the block before the first": encode(ended(block_id=0)),
    "the end of a block beyond counting": encode(ended(block_id=2**64 - 1)),
    # what only a host can know
    "an end as if by the host": encode(ended(status=pb.STATUS_KILLED)),
    "an end as if by a limit": encode(ended(status=pb.STATUS_WALL_CLOCK)),
    "an end as if by the CPU": encode(ended(status=pb.STATUS_CPU)),
    "an end as if by its output": encode(ended(status=pb.STATUS_OUTPUT)),
    "an end as if by an interrupt": encode(ended(status=pb.STATUS_INTERRUPTED)),
    "an end of no known kind": encode(ended(status=99)),
    "an end of no kind": encode(ended(status=0)),
    # calls
    "a call with a foreign id": encode(tool_call(call_id=5)),
    "a call with id 0": encode(tool_call(call_id=0)),
    "a call with an id beyond counting": encode(tool_call(call_id=2**64 - 1)),
    "the same call twice": encode(tool_call(name="count")) * 2,
    "a tool that the session has not": encode(tool_call(name="system.delete")),
    "a tool without a name": encode(tool_call(name="")),
    "a tool with a name of a hundred kilobytes": encode(tool_call(name="x" * 100_000)),
    "a method of a tool": encode(tool_call(name="touch.__globals__")),
    "a tool of the host's language": encode(tool_call(name="__import__", arguments=[encode_value("os")])),
    "a reserved name that there is not": encode(
        tool_call(name="_image.open", arguments=[encode_value(ImageRef("a", 1, 1))])
    ),
    "a reserved name without a reference": encode(tool_call(name="_image.pixels", arguments=[encode_value("a")])),
    "a reserved name without an argument": encode(tool_call(name="_image.pixels")),
    "a reserved name with two references": encode(
        tool_call(name="_image.pixels", arguments=[encode_value(ImageRef("a", 1, 1))] * 2)
    ),
    # values
    "a pickle in an array": encode(
        tool_call(arguments=[pb.Value(array=pb.Array(dtype="|O", shape=[1], data=b"\x80\x04N."))])
    ),
    "an array of another dtype": encode(
        tool_call(arguments=[pb.Value(array=pb.Array(dtype="V8", shape=[1], data=bytes(8)))])
    ),
    "an array of a structure": encode(
        tool_call(arguments=[pb.Value(array=pb.Array(dtype="<f4,O", shape=[1], data=bytes(12)))])
    ),
    "an array larger than its data": encode(
        tool_call(arguments=[pb.Value(array=pb.Array(dtype="<f8", shape=[2**62, 4]))])
    ),
    "an array without items and beyond counting": encode(
        tool_call(arguments=[pb.Value(array=pb.Array(dtype="|u1", shape=[0, 2**39, 2**39]))])
    ),
    "an array of too many dimensions": encode(
        tool_call(arguments=[pb.Value(array=pb.Array(dtype="|u1", shape=[1] * 65, data=b"x"))])
    ),
    "an image larger than its data": encode(
        tool_call(arguments=[pb.Value(pixels=pb.Pixels(mode="RGB", width=16000, height=16000, data=b"x"))])
    ),
    "an image without a side": encode(tool_call(arguments=[pb.Value(pixels=pb.Pixels(mode="L", width=0, height=1))])),
    "an image of another mode": encode(
        tool_call(arguments=[pb.Value(pixels=pb.Pixels(mode="PNG", width=1, height=1, data=b"x"))])
    ),
    "a reference without an id": encode(tool_call(arguments=[pb.Value(image=pb.ImageRef(width=1, height=1))])),
    "a reference of a size beyond bounds": encode(
        tool_call(arguments=[pb.Value(image=pb.ImageRef(id="x", width=2**31, height=1))])
    ),
    "digits that are none": encode(tool_call(arguments=[pb.Value(big_integer="0x10")])),
    "more digits than Python reads": encode(tool_call(arguments=[pb.Value(big_integer="9" * 5000)])),
    "a mapping with a key that has no hash": encode(
        tool_call(arguments=[pb.Value(map=pb.Mapping(entries=[pb.MapEntry(key=nested(1), value=nested(0))]))])
    ),
    "a mapping that takes the square of its size to build": encode(
        tool_call(arguments=[encode_value(dict.fromkeys((2**61 - 1) * factor for factor in range(5000)))])
    ),
    "a value without content": encode(tool_call(arguments=[pb.Value()])),
    "a keyword without a value": encode(tool_call(keywords={"x": pb.Value()})),
    "deep nesting": encode(tool_call(arguments=[nested(30)])),
    "more values than a call may have": encode(tool_call(arguments=[encode_value([None] * 15_000)] * 2)),
}


def writing(data: bytes, then: str = "import time\ntime.sleep(60)") -> str:
    return f"import os\ndata = bytes.fromhex({data.hex()!r})\nos.write(1000, data)\n{then}"


def touching() -> tuple[list[Tool], list[object]]:
    touched: list[object] = []

    async def touch(*what: object) -> None:
        """Remember the call."""
        touched.append(what)

    async def count() -> None:
        """A call that may be made once."""

    return [Tool.of(touch), Tool.of(count)], touched


def makes_checkpoints(host: Host) -> bool:
    return {feature.name: feature.enforced for feature in host.features}["checkpoints"]


@each("forgery", FORGERIES)
async def test_a_forged_frame_ends_its_session(attack: Attack, tier: Tier, forgery: bytes) -> None:
    if tier.container and len(forgery) % (8 if tier.own_kernel else 3):
        pytest.skip("each costs a container; the reader is the host's, and the same for every tier")
    tools, touched = touching()
    async with attack(writing(forgery), tools=tools) as result:
        assert result.status in ("broken", "policy"), result.message
        assert touched == []
        assert not result.session.alive or result.early


async def test_half_a_frame_and_silence_ends_with_the_wall_clock(attack: Attack) -> None:
    async with attack(writing(b"\0\0\xff\xff" + b"x" * 100), limits=replace(LIMITS, wall_s=0.2)) as result:
        assert result.status in ("wall_clock", "broken", "policy")


async def test_half_a_length_and_silence_ends_with_the_wall_clock(attack: Attack) -> None:
    async with attack(writing(b"\0\0"), limits=replace(LIMITS, wall_s=0.2)) as result:
        assert result.status in ("wall_clock", "broken", "policy")


async def test_half_a_frame_and_death_ends_the_session(attack: Attack) -> None:
    async with attack(writing(b"\0\0\xff\xff" + b"x", "os._exit(0)")) as result:
        assert result.status in ("broken", "policy")


async def test_a_frame_in_single_bytes_is_a_frame(attack: Attack) -> None:
    tools, touched = touching()
    frame = encode(tool_call(arguments=[encode_value(7)]))
    code = f"import os\nfor byte in bytes.fromhex({frame.hex()!r}):\n    os.write(1000, bytes([byte]))\n"
    async with attack(code + "os.read(1000, 1000)\nos._exit(0)", tools=tools) as result:
        assert touched == ([] if result.early else [(7,)])


async def test_closing_the_channel_ends_the_block(attack: Attack) -> None:
    """The supervisor has the channel too, so that only the clock shows that nobody speaks any more."""
    code = "import os, time\nos.close(1000)\ntime.sleep(60)"
    async with attack(code, limits=replace(LIMITS, wall_s=0.3)) as result:
        assert result.status in ("wall_clock", "killed", "policy")


async def test_another_file_cannot_take_the_channels_place(attack: Attack) -> None:
    code = "import fcntl, os\nfor take in (os.dup2, lambda a, b: fcntl.fcntl(a, fcntl.F_DUPFD, b)):\n    take(1, 1000)"
    async with attack(code) as result:
        assert result.status in ("exception", "policy")


async def test_a_forged_end_harms_only_its_own_session(attack: Attack, monkeypatch: pytest.MonkeyPatch) -> None:
    """A guest that says its block has ended and goes on is given no more CPU; its next word is out of order."""
    monkeypatch.setattr("maia.sandbox.host.session._CHECKPOINT_S", 0.3)
    limits = replace(LIMITS, wall_s=0.5)
    async with attack(writing(encode(ended()), "while True:\n    pass"), limits=limits) as result:
        assert result.status in ("ok", "policy")
        if not result.early:
            assert await _ends(result.session)


async def _ends(session: Session) -> bool:
    """Whether a session breaks within two blocks."""
    try:
        for _ in range(2):
            await session.run("print('never reached')")
    except SessionError:
        return True
    return False


async def test_frames_ahead_of_their_time_end_the_next_block(host: Host) -> None:
    async with await host.open(policy="off", limits=LIMITS) as session:
        first = await session.run(writing(encode(ended()) + encode(ended(block_id=3)), "pass"))
        assert first.ok  # a lie about itself
        with pytest.raises(SessionError, match="protocol"):
            await session.run("print('never reached')")


async def test_a_call_after_the_blocks_end_waits_for_the_next_at_least(host: Host) -> None:
    tools, touched = touching()
    async with await host.open(policy="off", limits=LIMITS, tools=tools) as session:
        assert (await session.run(writing(encode(ended()) + encode(tool_call()), "pass"))).ok
        await asyncio.sleep(0.1)
        assert touched == []
        if makes_checkpoints(host):  # else it is the next block's call, which guest code may make as well
            with pytest.raises(SessionError):
                await session.run("pass")
            assert touched == []


async def test_a_thread_that_calls_between_two_blocks_is_not_answered(host: Host) -> None:
    tools, touched = touching()
    code = (
        "import threading, time\ndef call():\n    time.sleep(0.05)\n    touch(1)\nthreading.Thread(target=call).start()"
    )
    async with await host.open(policy="off", limits=LIMITS, tools=tools) as session:
        assert (await session.run(code)).ok
        await asyncio.sleep(0.2)
        assert touched == []


async def test_a_flood_of_calls_is_answered_one_by_one_and_ends_with_the_block(attack: Attack) -> None:
    tools, touched = touching()
    frames = b"".join(encode(tool_call(call_id=number)) for number in range(1, 200))
    async with attack(writing(frames), tools=tools, limits=replace(LIMITS, wall_s=0.5)) as result:
        assert result.status in ("wall_clock", "policy")
        assert len(touched) in (0, 199)


async def test_a_guest_that_reads_no_results_cannot_hold_the_host(attack: Attack) -> None:
    async def big() -> bytes:
        """A large result."""
        return bytes(16 << 20)

    frames = b"".join(encode(tool_call(call_id=number, name="big")) for number in range(1, 5))
    async with attack(writing(frames), tools=[Tool.of(big)], limits=replace(LIMITS, wall_s=0.5)) as result:
        assert result.status in ("wall_clock", "policy")


async def test_a_guest_without_output_does_not_keep_the_host_busy(
    attack: Attack, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = []
    read = Output.read

    def counting(output: Output, descriptor: int) -> bool:
        reads.append(descriptor)
        return read(output, descriptor)

    monkeypatch.setattr(Output, "read", counting)
    async with attack("import os, time\nos.close(1)\nos.close(2)\ntime.sleep(0.5)", fresh=True) as result:
        assert result.status in ("ok", "policy")
        assert len(reads) < 10  # the honest session's included; a host that spins reads thousands of times


async def test_what_the_host_spends_on_reading_a_call_is_the_blocks_time(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools, touched = touching()

    def slow(*arguments: Any) -> object:
        time.sleep(0.2)
        return decode_call(*arguments)

    monkeypatch.setattr(broker, "decode_call", slow)
    async with await host.open(tools=tools, limits=replace(LIMITS, wall_s=1)) as session:
        outcome = await session.run("while True:\n    touch(1)")
    assert outcome.status.value == "wall_clock"
    assert len(touched) <= 5  # and not for as long as the guest likes


def field(number: int, content: bytes) -> bytes:
    length, size = b"", len(content)
    while size > 127:
        length += bytes([size & 127 | 128])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


def framed(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


def call_of(*values: pb.Value) -> bytes:
    return encode(tool_call(arguments=values))


DIGITS = pb.Value(big_integer="9" * MAX_DIGITS)

HEAVY = {
    "empty messages, two bytes each": framed(field(4, b"\x1a\x00" * (30 << 20))),
    "empty values in one list": framed(
        field(4, b"\x08\x01\x12\x05touch" + field(3, field(8, b"\x0a\x00" * (20 << 20))))
    ),
    "sides of one array": framed(field(4, field(3, field(13, field(2, b"\x01" * (40 << 20)))))),
    "unknown numbers": framed(b"\xf8\x06\x01" * (10 << 20)),
    "as many fields as are read": call_of(*[pb.Value(null=pb.Null())] * (MAX_MESSAGES // 2 - 10)),
    "a text with one rare character": call_of(pb.Value(text="x" * (MAX_TEXT_BYTES - 100) + "\N{PILE OF POO}")),
    "a long text": call_of(pb.Value(text="x" * (60 << 20))),
    "a name of sixty megabytes": encode(tool_call(name="x" * (60 << 20))),
    "a last word of sixty megabytes": encode(ended(message="x" * (60 << 20) + "\N{PILE OF POO}")),
    "long integers": call_of(pb.Value(list=pb.Sequence(items=[DIGITS] * 15_000))),
    "long integers as keys": call_of(
        pb.Value(map=pb.Mapping(entries=[pb.MapEntry(key=DIGITS, value=pb.Value(null=pb.Null()))] * 7000))
    ),
    "a large array": call_of(pb.Value(array=pb.Array(dtype="<f2", shape=[30 << 20], data=bytes(60 << 20)))),
    "a large picture": call_of(
        pb.Value(pixels=pb.Pixels(mode="L", width=1 << 13, height=7 << 10, data=bytes(56 << 20)))
    ),
}


@asynccontextmanager
async def sending(host: Host, data: bytes) -> AsyncIterator[Result]:
    """Send bytes from a guest; it fetches them by a tool, for they are too long for a block."""
    pieces = [data[at : at + (8 << 20)] for at in range(0, len(data), 8 << 20)]

    async def piece(number: int) -> bytes:
        """A part of what is sent."""
        return pieces[number]

    async def touch(*what: object) -> None:
        """Take anything."""

    limits = replace(LIMITS, wall_s=10, cpu_s=10, memory_mb=300)
    async with await host.open(policy="off", limits=limits, tools=[Tool.of(piece), Tool.of(touch)]) as session:
        fetch = f"import os\ndata = bytearray()\nfor n in range({len(pieces)}):\n    data += piece(n)"
        assert (await session.run(fetch)).ok
        vars(session._answers)["_last_id"] = session._blocks = 0  # the frames were made before
        code = "rest = memoryview(data)\nwhile rest:\n    rest = rest[os.write(1000, rest[:1 << 20]):]\nos._exit(0)"
        try:
            yield Result(session, await session.run(code), None)
        except SessionError as error:
            yield Result(session, None, error)


@each("data", HEAVY)
async def test_one_frame_costs_the_host_neither_its_memory_nor_its_time(host: Host, tier: Tier, data: bytes) -> None:
    if tier.own_kernel:
        pytest.skip(
            "sixty megabytes through ptrace take minutes; the reader is the host's, and the same for every tier"
        )
    lags = []

    async def ticking() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            lags.append(time.perf_counter() - before)

    ticker = asyncio.create_task(ticking())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with sending(host, data) as result:
        ticker.cancel()
        assert result.status in ("broken", "killed", "ok"), result.message
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 512 << 10
    assert max(lags) < 1.0  # some tens of milliseconds when the machine has nothing else to do


async def test_what_the_dead_wrote_is_not_its_successors_word(host: Host) -> None:
    if not makes_checkpoints(host):
        pytest.skip("nothing succeeds a killed guest here")
    tools, touched = touching()
    forged = encode(tool_call(arguments=[encode_value("by the dead")]))
    deaf = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    limits = replace(LIMITS, wall_s=0.2)
    async with await host.open(policy="off", limits=limits, tools=tools) as session:
        await session.run("x = 1")
        outcome = await session.run(deaf + writing(forged[:-3]))
        assert outcome.state is State.RESTORED
        assert (await session.run("print(x)\ntouch('by the living')")).output == "1\n"
    assert touched == [("by the living",)]


async def test_sessions_end_in_any_order_and_the_others_go_on(host: Host, tier: Tier) -> None:
    count = 3 if tier.container else 8
    sessions: list[Session] = [await host.open(policy="off", limits=LIMITS) for _ in range(count)]
    for index, session in enumerate(sessions[:-1]):
        with pytest.raises(SessionError):
            await session.run(writing(FORGERIES["noise"]))
        for other in sessions[index + 1 :]:
            assert (await other.run(f"print({index})")).output == f"{index}\n"
    await sessions[-1].close()
    for session in sessions:
        with pytest.raises(SessionError):
            await session.run("pass")


async def test_the_forgeries_are_whole_frames() -> None:
    """So that each is refused for what its name says."""
    for name, frame in FORGERIES.items():
        if not name.startswith(("a length", "noise", "the same call")):
            assert int.from_bytes(frame[:4], "big") == len(frame) - 4, name

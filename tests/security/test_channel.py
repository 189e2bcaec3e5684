"""Attacks on the channel: frames that native code in the guest forges, and references that code makes up."""

from __future__ import annotations

import time
from typing import Any, Literal

import pytest

from maia.execution.v1 import execution_pb2 as pb
from maia.sandbox import ImageRef, Limits, Pixels, SessionError, Tool, ToolError
from maia.sandbox.host import broker
from maia.sandbox.host.output import Output
from maia.sandbox.protocol.frames import encode
from maia.sandbox.protocol.values import decode_value, encode_value

pytestmark = pytest.mark.asyncio(loop_scope="session")


def tool_call(**fields: Any) -> pb.GuestFrame:
    return pb.GuestFrame(tool_call=pb.ToolCall(**{"call_id": 1, "name": "touch", **fields}))


def ended(**fields: Any) -> pb.GuestFrame:
    return pb.GuestFrame(block_ended=pb.GuestBlockEnded(**{"block_id": 1, "status": pb.STATUS_OK, **fields}))


BAD_ARRAY = pb.Value(array=pb.Array(dtype="|O", shape=[1], data=b"\x80\x04N."))
BAD_SHAPE = pb.Value(array=pb.Array(dtype="<f8", shape=[2**62, 4], data=b""))
BAD_PIXELS = pb.Value(pixels=pb.Pixels(mode="RGB", width=16000, height=16000, data=b"x"))
EMPTY_BUT_HUGE = pb.Value(array=pb.Array(dtype="|u1", shape=[0, 2**39, 2**39], data=b""))
KEYS_OF_ONE_HASH = encode_value(dict.fromkeys((2**61 - 1) * factor for factor in range(5000)))
DEEP = encode_value(0)
for _ in range(30):
    DEEP = pb.Value(list=pb.Sequence(items=[DEEP]))

FORGERIES = {
    "a length of 4 GiB": b"\xff\xff\xff\xff",
    "a length just beyond the bound": (64 * 1024 * 1024 + 1).to_bytes(4, "big"),
    "an empty frame": b"\0\0\0\0",
    "noise": b"\0\0\0\x08" + b"\xde\xad\xbe\xef" * 2,
    "the ready frame again": encode(pb.GuestFrame(ready=pb.GuestReady())),
    "a refusal": encode(pb.GuestFrame(refused=pb.ConfinementRefused(step="mount", errno=1))),
    "the end of another block": encode(ended(block_id=7)),
    "an end as if by the host": encode(ended(status=pb.STATUS_KILLED)),
    "an end as if by a limit": encode(ended(status=pb.STATUS_WALL_CLOCK)),
    "an end of no known kind": encode(ended(status=99)),
    "a call with a foreign id": encode(tool_call(call_id=5)),
    "a call with id 0": encode(tool_call(call_id=0)),
    "a tool that the session has not": encode(tool_call(name="system.delete")),
    "a reserved name that there is not": encode(
        tool_call(name="_image.open", arguments=[encode_value(ImageRef("a", 1, 1))])
    ),
    "a reserved name without a reference": encode(tool_call(name="_image.pixels", arguments=[encode_value("a")])),
    "a pickle in an array": encode(tool_call(arguments=[BAD_ARRAY])),
    "an array larger than its data": encode(tool_call(arguments=[BAD_SHAPE])),
    "an array without items and beyond counting": encode(tool_call(arguments=[EMPTY_BUT_HUGE])),
    "a mapping that takes the square of its size to build": encode(tool_call(arguments=[KEYS_OF_ONE_HASH])),
    "an image larger than its data": encode(tool_call(arguments=[BAD_PIXELS])),
    "a value without content": encode(tool_call(arguments=[pb.Value()])),
    "deep nesting": encode(tool_call(arguments=[DEEP])),
}


def writing(data: bytes, then: str = "import time\ntime.sleep(60)") -> str:
    return f"import os\ndata = bytes.fromhex({data.hex()!r})\nos.write(1000, data)\n{then}"


def make_touch() -> tuple[Tool, list[object]]:
    touched: list[object] = []

    async def touch(*what: object) -> None:
        """Remember the call."""
        touched.append(what)

    return Tool.of(touch), touched


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_a_forged_frame_ends_its_session(attack: Any, forgery: str) -> None:
    tool, touched = make_touch()
    async with attack(writing(FORGERIES[forgery]), tools=[tool]) as result:
        assert result.status in ("broken", "policy")
        assert touched == []
        assert isinstance(result.error, SessionError) or result.status == "policy"


async def test_half_a_frame_and_silence_ends_with_the_wall_clock(attack: Any) -> None:
    async with attack(writing(b"\0\0\xff\xff" + b"x" * 100), limits=Limits(wall_s=0.2)) as result:
        assert result.status in ("wall_clock", "broken", "policy")


async def test_half_a_frame_and_death_ends_the_session(attack: Any) -> None:
    async with attack(writing(b"\0\0\xff\xff" + b"x", "os._exit(0)")) as result:
        assert result.status in ("broken", "policy")


async def test_closing_the_channel_ends_the_session(attack: Any) -> None:
    async with attack("import os, time\nos.close(1000)\ntime.sleep(60)", limits=Limits(wall_s=10)) as result:
        assert result.status in ("killed", "policy")  # and not "memory", though the host ends it by SIGKILL
        assert result.outcome is None or result.status == "policy" or result.outcome.state.value == "lost"


async def test_another_file_cannot_take_the_channels_place(attack: Any) -> None:
    async with attack("import os\nos.dup2(1, 1000)") as result:
        assert result.status in ("exception", "policy")


async def test_a_forged_end_harms_only_its_own_session(attack: Any) -> None:
    """A guest that says its block has ended and goes on is given no more CPU; its next word is out of order."""
    async with attack(writing(encode(ended()), "while True:\n    pass"), limits=Limits(wall_s=0.5)) as result:
        assert result.status in ("ok", "policy")


async def test_frames_ahead_of_their_time_end_the_next_block(host: Any) -> None:
    async with await host.open(policy="off") as session:
        first = await session.run(writing(encode(ended()) + encode(ended(block_id=3)), "pass"))
        assert first.ok  # a lie about itself
        with pytest.raises(SessionError, match="protocol"):
            await session.run("print('never reached')")


async def test_a_flood_of_calls_is_answered_one_by_one_and_ends_with_the_block(attack: Any) -> None:
    tool, touched = make_touch()
    frames = b"".join(encode(tool_call(call_id=number)) for number in range(1, 200))
    async with attack(writing(frames), tools=[tool], limits=Limits(wall_s=0.5)) as result:
        assert result.status in ("wall_clock", "policy")
        assert len(touched) in (0, 199)


async def test_a_guest_that_reads_no_results_cannot_hold_the_host(attack: Any) -> None:
    async def big() -> bytes:
        """A large result."""
        return bytes(16 << 20)

    frames = b"".join(encode(tool_call(call_id=number, name="big")) for number in range(1, 5))
    async with attack(writing(frames), tools=[Tool.of(big)], limits=Limits(wall_s=0.5)) as result:
        assert result.status in ("wall_clock", "policy")


class OneImage:
    """A table with one image."""

    async def pixels(self, ref_id: str) -> Pixels:
        if ref_id != "mine":
            raise ToolError(f"there is no image {ref_id!r} in this session")
        return Pixels("L", 1, 1, b"x")

    async def encoded(self, ref_id: str) -> bytes:
        return (await self.pixels(ref_id)).data

    def source(self, ref_id: str) -> ImageRef:
        if ref_id != "mine":
            raise ToolError(f"there is no image {ref_id!r} in this session")
        return ImageRef("mine", 1, 1)


@pytest.mark.parametrize("asked", ["theirs", "../mine", "mine\\x00", "/etc/passwd"])
@pytest.mark.parametrize("how", ["array()", "base64()", "source"])
async def test_a_reference_that_code_makes_up_is_an_error_in_the_guest(attack: Any, asked: str, how: str) -> None:
    async def give() -> ImageRef:
        """An image."""
        return ImageRef("mine", 1, 1)

    code = (
        "from maia.sandbox.protocol.types import ImageRef\nimage = give()\n"
        f"forged = type(image)(ImageRef('{asked}', 1, 1), image._call)\n"
        f"try:\n    print('got', forged.{how})\nexcept ToolError as error:\n    print(error)"
    )
    async with attack(code, tools=[Tool.of(give)], images=OneImage()) as result:
        assert "got" not in result.output
        assert result.status in ("ok", "policy")


async def test_a_tool_cannot_run_blocks_of_the_session_that_called_it(host: Any) -> None:
    refused: list[str] = []

    async def again() -> None:
        """Call back."""
        try:
            await session.run("print('inner')")
        except SessionError as error:
            refused.append(str(error))

    async with await host.open(tools=[Tool.of(again)]) as session:
        outcome = await session.run("again()\nprint('outer')")
    assert outcome.output == "outer\n"
    assert "one at a time" in refused[0]


@pytest.mark.parametrize("argument", ["10**400", "[10**400]", "np.zeros(3)", "np.zeros((0, 3))", "{'a': 10**400}"])
async def test_an_argument_that_breaks_its_check_is_the_blocks_error_and_not_the_hosts(
    attack: Any, argument: str
) -> None:
    async def number(x: float | list[float] | dict[str, float]) -> None:
        """Take numbers."""

    async def choice(x: Literal["a", "b"]) -> None:
        """Take a letter."""

    code = "".join(
        f"try:\n    {name}({argument})\nexcept ToolError:\n    print('refused')\n" for name in ("number", "choice")
    )
    async with attack(code, tools=[Tool.of(number), Tool.of(choice)]) as result:
        assert result.output == "refused\n" * 2


async def test_a_guest_without_output_does_not_keep_the_host_busy(attack: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []
    read = Output.read

    def counting(output: Output, descriptor: int) -> bool:
        reads.append(descriptor)
        return read(output, descriptor)

    monkeypatch.setattr(Output, "read", counting)
    async with attack("import os, time\nos.close(1)\nos.close(2)\ntime.sleep(0.5)") as result:
        assert result.status in ("ok", "policy")
        assert len(reads) < 10  # the honest session's included; a host that spins reads thousands of times


async def test_what_the_host_spends_on_reading_a_call_is_the_blocks_time(
    host: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool, touched = make_touch()

    def slow(value: pb.Value) -> object:
        time.sleep(0.2)
        return decode_value(value)

    monkeypatch.setattr(broker, "decode_value", slow)
    async with await host.open(tools=[tool], limits=Limits(wall_s=1)) as session:
        outcome = await session.run("while True:\n    touch(1)")
    assert outcome.status.value == "wall_clock"
    assert len(touched) <= 5  # and not for as long as the guest likes

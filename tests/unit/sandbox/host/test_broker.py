"""Quotas, ids and results of a broker that no guest is needed for."""

from __future__ import annotations

import pytest

from maia.execution.v1 import execution_pb2 as pb
from maia.sandbox import ImageRef, Limits, Pixels, ProtocolError, Tool, ToolError
from maia.sandbox.host.broker import Broker
from maia.sandbox.protocol.values import decode_value, encode_value

DOT = Pixels("L", 1, 1, b"\x00")
ran: list[object] = []


class Clock:
    """Counts how often it stood still."""

    stops = 0

    def tool_began(self) -> None:
        self.stops += 1

    def tool_ended(self) -> None:
        pass


class Table:
    """One image."""

    async def pixels(self, ref_id: str) -> Pixels:
        ran.append(ref_id)
        return DOT

    async def encoded(self, ref_id: str) -> bytes:
        ran.append(ref_id)
        return b"\x89PNG"

    def source(self, ref_id: str) -> ImageRef:
        return ImageRef(ref_id, 1, 1)


def keep(*items: object) -> int:
    """Keep."""
    ran.extend(items)
    return len(items)


def zeros(count: int) -> bytes:
    """Bytes."""
    ran.append(count)
    return bytes(count)


def unsendable() -> object:
    """What cannot travel."""
    return {1, 2}


@pytest.fixture(autouse=True)
def nothing_ran() -> None:
    ran.clear()


class Caller:
    """A guest that counts its calls."""

    def __init__(self, **limits: int) -> None:
        tools = [Tool.of(keep), Tool.of(zeros), Tool.of(unsendable)]
        self.broker = Broker(tools, Table(), Limits(**limits))
        self.clock = Clock()
        self.id = 0

    async def __call__(self, name: str, *arguments: object, **keywords: object) -> object:
        self.id += 1
        call = pb.ToolCall(
            call_id=self.id,
            name=name,
            arguments=[encode_value(value) for value in arguments],
            keywords={key: encode_value(value) for key, value in keywords.items()},
        )
        result = await self.broker.answer(call, self.clock)
        assert result.call_id == self.id
        if result.WhichOneof("kind") == "error":
            raise ToolError(result.error)
        return decode_value(result.value)


async def test_calls_beyond_the_quota_are_refused_with_what_to_do_and_not_executed() -> None:
    call = Caller(tool_calls=2)
    assert await call("keep", 1) == 1
    assert isinstance(await call("_image.source", ImageRef("a", 1, 1)), ImageRef)
    for _ in range(3):
        with pytest.raises(
            ToolError, match=r"keep: nothing was done.*\(tool_calls\): 2 over its life, 0 left\. Go on with"
        ):
            await call("keep", 2)
    assert ran == [1]
    assert call.clock.stops == 2  # a refusal is on the block's own time
    assert call.broker.calls == 5


async def test_a_session_without_any_calls() -> None:
    with pytest.raises(ToolError, match="tool_calls"):
        await Caller(tool_calls=0)("keep")


async def test_bytes_of_arguments_and_results_count_together() -> None:
    call = Caller(tool_bytes=5000)
    await call("keep", bytes(2000))
    await call("zeros", 2000)
    with pytest.raises(ToolError, match=r"nothing was done.*\(tool_bytes\): 5,000 over its life, 9\d\d left"):
        await call("keep", bytes(2000))
    with pytest.raises(ToolError, match=r"the result has 9\d\d bytes.*left.*Ask for less"):
        await call("zeros", 990)
    assert await call("zeros", 100) == bytes(100)  # what was refused was not counted
    assert ran[1:] == [2000, 990, 100]


async def test_images_count_wherever_they_stand_and_when_they_are_fetched() -> None:
    call = Caller(images=6)
    await call("keep", [DOT, (DOT,)], {"a": [DOT]})
    await call("_image.pixels", ImageRef("a", 1, 1))
    await call("_image.encoded", ImageRef("b", 1, 1))
    with pytest.raises(ToolError, match=r"\(images\): 6 over its life, 1 left"):
        await call("keep", DOT, DOT)
    await call("keep", DOT)
    for name in ("_image.pixels", "_image.encoded"):
        with pytest.raises(ToolError, match="images"):
            await call(name, ImageRef("c", 1, 1))
    assert "c" not in ran
    await call("keep", 1)  # other calls go on


async def test_going_back_to_a_checkpoint_gives_no_quota_back() -> None:
    call = Caller(tool_calls=3)
    await call("keep", 1)
    call.broker.mark()
    await call("keep", 2)
    call.broker.rewind()
    call.id = 1
    await call("keep", 3)
    with pytest.raises(ToolError, match="tool_calls"):
        await call("keep", 4)


async def test_ids_count_up_and_names_are_known() -> None:
    call = Caller()
    await call("keep")
    call.id = 0
    with pytest.raises(ProtocolError, match="tool call 1 where 2 comes next"):
        await call("keep")
    for name in ("nothing", "_image.delete"):
        with pytest.raises(ProtocolError, match=f"{name}.* no tool of this session"):
            await Caller()(name)
    with pytest.raises(ProtocolError, match="one image reference"):
        await Caller()("_image.pixels", 1)


async def test_a_tool_that_returns_what_cannot_travel_has_failed() -> None:
    with pytest.raises(TypeError, match="tool unsendable returned what cannot be passed: a value of type set"):
        await Caller()("unsendable")


async def test_a_result_larger_than_a_frame_is_the_callers_to_ask_less() -> None:
    with pytest.raises(ToolError, match=r"result has 67,\d+,\d+ bytes; at most .* Ask for less at a time"):
        await Caller()("zeros", 64 * 1024 * 1024)

"""Tool calls on their way to a client: their order, their names, and what becomes of them when nobody waits."""

from __future__ import annotations

import asyncio

import pytest

from maia.execution.v1 import execution_pb2 as pb
from maia.sandbox import Limits, ProtocolError
from maia.sandbox.remote.relay import RelayBroker
from maia.wire.errors import InvalidRequestError
from maia.wire.limits import MAX_MESSAGE_BYTES


class Clock:
    stops = 0

    def tool_began(self) -> None:
        self.stops += 1

    def tool_ended(self) -> None:
        pass


class Client:
    """Keeps what it is sent."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.sent: list[pb.ToolCall] = []
        self.arrived = asyncio.Event()
        self.clock = Clock()
        self.relay = RelayBroker(["search"], limits or Limits(), self._send)

    async def _send(self, response: pb.SessionResponse) -> None:
        self.sent.append(response.tool_call)
        self.arrived.set()

    def call(self, call_id: int, name: str = "search", **fields: object) -> asyncio.Task[pb.ToolResult]:
        self.arrived.clear()
        call = pb.ToolCall(call_id=call_id, name=name, **fields)  # type: ignore[arg-type]  # as each test gives them
        return asyncio.ensure_future(self.relay.answer(call, self.clock))


async def answered(client: Client, call_id: int, text: str) -> pb.ToolResult:
    task = client.call(call_id)
    await client.arrived.wait()
    client.relay.deliver(pb.ToolResult(call_id=client.sent[-1].call_id, value=pb.Value(text=text)))
    return await task


async def test_a_call_gets_its_own_result() -> None:
    client = Client()
    for call_id, text in ((1, "a"), (2, "b")):
        result = await answered(client, call_id, text)
        assert (result.call_id, result.value.text) == (call_id, text)
    assert client.relay.calls == 2
    client.relay.begin_block()
    assert client.relay.calls == 0


async def test_ids_toward_the_client_never_go_back() -> None:
    client = Client(Limits(tool_calls=3))
    await answered(client, 1, "a")
    client.relay.mark()
    await answered(client, 2, "b")
    client.relay.rewind()
    assert (await answered(client, 2, "c")).call_id == 2
    assert [call.call_id for call in client.sent] == [1, 2, 3]
    assert "tool_calls" in (await client.call(3)).error
    assert len(client.sent) == 3
    assert client.clock.stops == 3  # a refusal is on the block's own time


async def test_a_call_that_is_given_up_ends_and_its_late_result_is_dropped() -> None:
    client = Client()
    task = client.call(1)
    await client.arrived.wait()
    client.relay.give_up()
    assert "stopped" in (await task).error
    assert "stopped" in (await client.call(2)).error
    assert len(client.sent) == 1
    client.relay.begin_block()
    waiting = client.call(3)
    await client.arrived.wait()
    client.relay.deliver(pb.ToolResult(call_id=1, value=pb.Value(text="late")))
    assert not waiting.done()
    client.relay.deliver(pb.ToolResult(call_id=2, value=pb.Value(text="in time")))
    assert (await waiting).value.text == "in time"
    client.relay.deliver(pb.ToolResult(call_id=2, value=pb.Value(text="again")))


@pytest.mark.parametrize(
    "result", [pb.ToolResult(call_id=0, error="x"), pb.ToolResult(call_id=2, error="x"), pb.ToolResult(call_id=1)]
)
async def test_a_result_of_no_call_is_refused(result: pb.ToolResult) -> None:
    client = Client()
    task = client.call(1)
    await client.arrived.wait()
    with pytest.raises(InvalidRequestError, match=f"tool call {result.call_id}"):
        client.relay.deliver(result)
    task.cancel()


@pytest.mark.parametrize(("call_id", "name"), [(2, "search"), (0, "search"), (1, "other"), (1, "_image.delete")])
async def test_a_forged_call_breaks_the_protocol(call_id: int, name: str) -> None:
    client = Client()
    with pytest.raises(ProtocolError):
        await client.call(call_id, name)
    assert client.sent == []


async def test_a_call_too_large_for_a_message_is_refused_to_the_guest() -> None:
    client = Client()
    result = await client.call(1, arguments=[pb.Value(data=bytes(MAX_MESSAGE_BYTES))])
    assert "can be passed" in result.error
    assert client.sent == []

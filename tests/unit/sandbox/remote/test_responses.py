"""The order of what goes back to a client, and how few messages it takes."""

from __future__ import annotations

import asyncio

from maia.execution.v1 import execution_pb2 as pb
from maia.sandbox.remote.responses import Responses


class Client:
    """Takes one message at a time, when it is allowed to."""

    def __init__(self) -> None:
        self.may_take = asyncio.Event()
        self.may_take.set()
        self.taken: list[str] = []
        self.responses = Responses(self._write)

    async def _write(self, response: pb.SessionResponse) -> None:
        await self.may_take.wait()
        kind = response.WhichOneof("kind")
        self.taken.append(response.output.text if kind == "output" else str(kind))


TOOL_CALL = pb.SessionResponse(tool_call=pb.ToolCall(call_id=1, name="a"))


async def settled() -> None:
    await asyncio.sleep(0.05)


async def test_output_comes_before_the_call_that_follows_it_and_by_itself() -> None:
    client = Client()
    pump = asyncio.ensure_future(client.responses.pump())
    client.responses.printed("a")
    client.responses.printed("b")
    await client.responses.send(TOOL_CALL)
    client.responses.printed("c")
    await settled()
    assert client.taken == ["ab", "tool_call", "c"]
    pump.cancel()


async def test_what_is_printed_while_the_client_is_busy_is_one_message() -> None:
    client = Client()
    pump = asyncio.ensure_future(client.responses.pump())
    client.may_take.clear()
    client.responses.printed("0")
    await settled()
    for number in range(1, 10):
        client.responses.printed(str(number))
        await settled()
    client.may_take.set()
    await settled()
    assert client.taken == ["0", "123456789"]
    pump.cancel()


async def test_the_end_of_a_block_carries_what_was_not_sent_yet() -> None:
    client = Client()
    pump = asyncio.ensure_future(client.responses.pump())
    client.responses.printed("all of it")
    await client.responses.end_block(pb.Outcome(output="all of it"))
    await settled()
    assert client.taken == ["block_ended"]
    pump.cancel()

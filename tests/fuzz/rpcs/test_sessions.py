"""The stream of a sandbox session gets requests that nobody should send, in orders that nobody should send them in."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator, Sequence
from typing import Final

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fuzz.rpcs.hostile import messages, requests
from tests.fuzz.rpcs.process import Server
from tests.fuzz.rpcs.promises import DEADLINE_S, bounded, check_error

from maia.execution.v1 import execution_pb2 as pb

PATH: Final = "/maia.execution.v1.ExecutionService/Session"
HOST: Final = "/maia.execution.v1.ExecutionService/GetHost"
ECHO: Final = pb.ToolSpec(name="tools.echo", signature="(value: int) -> int", documentation="Return the value.")


def of(**kind: object) -> bytes:
    return pb.SessionRequest(**kind).SerializeToString()  # type: ignore[arg-type]


OPEN: Final = of(open=pb.OpenSession(tools=[ECHO], policy=pb.POLICY_OFF, limits=pb.Limits(wall_s=2.0)))
RESULT: Final = of(tool_result=pb.ToolResult(call_id=1, value=pb.Value(integer=7)))
CLOSE: Final = of(close=pb.CloseSession())


def block(number: int, source: str) -> bytes:
    return of(run_block=pb.RunBlock(block_id=number, source=source))


SCRIPT: Final = (OPEN, block(1, "print(tools.echo(7))"), RESULT, block(2, "print('second')"), CLOSE)
"""What a client sends that does everything right."""

STEPS: Final = st.one_of(
    st.sampled_from(
        [*SCRIPT, block(1, "while True: pass"), block(2**64 - 1, "1"), block(1, "\0"), block(1, "é" * 99_999)]
    ),
    st.sampled_from([OPEN, b"", b"\xff", of(interrupt=pb.Interrupt()), RESULT, of(tool_result=pb.ToolResult())]),
    requests(pb.SessionRequest.DESCRIPTOR),
)


class Conversation:
    """A stream that is written to step by step."""

    def __init__(self, server: Server) -> None:
        self._steps: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.call = server.channel.stream_stream(PATH)(self._requests(), timeout=DEADLINE_S)
        self.answers: Iterator[bytes] = iter(self.call)

    def _requests(self) -> Iterator[bytes]:
        while (step := self._steps.get()) is not None:
            yield step

    def send(self, step: bytes) -> None:
        self._steps.put(step)

    def close(self) -> None:
        """No more requests will come."""
        self._steps.put(None)

    def end(self) -> tuple[str, list[pb.SessionResponse]]:
        """Read to the end; return "OK" or the reason of an error that is as errors are to be, and what came before."""
        read: list[pb.SessionResponse] = []
        try:
            read.extend(map(pb.SessionResponse.FromString, self.answers))
        except grpc.RpcError as error:
            return check_error(error), read
        return "OK", read


def talk(server: Server, steps: Sequence[bytes], *, pause_s: float) -> tuple[str, list[pb.SessionResponse]]:
    conversation = Conversation(server)
    for step in steps:
        conversation.send(step)
        time.sleep(pause_s)
    conversation.close()
    return conversation.end()


def check_works(server: Server) -> None:
    """All seats are free again, and a session does what it should."""
    until = time.monotonic() + 20
    while (open_now := sessions(server)) and time.monotonic() < until:
        time.sleep(0.02)
    assert open_now == 0
    conversation = Conversation(server)
    conversation.send(OPEN)
    assert pb.SessionResponse.FromString(next(conversation.answers)).WhichOneof("kind") == "opened"
    conversation.send(SCRIPT[1])
    call = pb.SessionResponse.FromString(next(conversation.answers)).tool_call
    assert (call.call_id, call.name) == (1, "tools.echo")
    conversation.send(RESULT)
    outcome = pb.BlockEnded()
    while not outcome.block_id:
        outcome = pb.SessionResponse.FromString(next(conversation.answers)).block_ended
    assert (outcome.outcome.status, outcome.outcome.output) == (pb.STATUS_OK, "7\n")
    conversation.send(CLOSE)
    conversation.close()
    assert conversation.end() == ("OK", [])


def sessions(server: Server) -> int:
    return pb.GetHostResponse.FromString(server.channel.unary_unary(HOST)(b"", timeout=DEADLINE_S)).sessions


@pytest.mark.parametrize("pause_s", [0.0, 0.3])
@pytest.mark.parametrize("count", range(len(SCRIPT) + 1))
def test_a_client_may_end_the_stream_at_any_point(server: Server, count: int, pause_s: float) -> None:
    server.faults()
    reason, _ = talk(server, SCRIPT[:count], pause_s=pause_s)
    # Without a pause the result comes before its call, and the second block while the first runs.
    assert reason == "OK" if 0 < count < 3 or (count and pause_s) else reason in {"OK", "SESSION_REQUEST_INVALID"}
    assert not server.faults()


@pytest.mark.parametrize("count", range(len(SCRIPT)))
def test_a_client_may_hang_up_at_any_point(server: Server, count: int) -> None:
    server.faults()
    conversation = Conversation(server)
    for step in SCRIPT[:count]:
        conversation.send(step)
    time.sleep(0.1)
    conversation.call.cancel()
    conversation.close()
    check_works(server)
    assert not server.faults()


@pytest.mark.parametrize(
    "steps",
    [
        [b""],
        [SCRIPT[1]],
        [CLOSE],
        [RESULT],
        [OPEN, OPEN],
        [OPEN, b""],
        [OPEN, b"\xff\xff"],
        [b"\xff\xff"],
        [OPEN, block(2, "1")],
        [OPEN, block(0, "1")],
        [OPEN, block(1, "import time; time.sleep(1)"), block(2, "1")],
        [OPEN, block(1, "import time; time.sleep(1)"), block(1, "1")],
        [of(open=pb.OpenSession(tools=[ECHO, ECHO]))],
        [of(open=pb.OpenSession(policy=99))],  # type: ignore[arg-type]
        [of(open=pb.OpenSession(limits=pb.Limits(wall_s=float("nan"))))],
        [of(open=pb.OpenSession(limits=pb.Limits(memory_mb=2**32 - 1)))],
    ],
)
def test_what_is_out_of_order_is_refused_with_a_reason(server: Server, steps: Sequence[bytes]) -> None:
    server.faults()
    conversation = Conversation(server)
    for step in steps:
        conversation.send(step)
    reason, read = conversation.end()  # the server ends the stream, not we
    conversation.close()
    assert reason in {"SESSION_REQUEST_INVALID", "REQUEST_MALFORMED"}
    assert [one.WhichOneof("kind") for one in read] in ([], ["opened"])
    assert not server.faults()


@pytest.mark.parametrize("of_what", ["steps", "openings"])
def test_a_host_outlives_any_conversation(server: Server, of_what: str) -> None:
    server.faults()
    openings = messages(pb.OpenSession.DESCRIPTOR).map(lambda asked: of(open=asked))
    first = st.sampled_from([OPEN, OPEN, OPEN, b"", CLOSE]) if of_what == "steps" else openings

    @bounded
    @given(first, st.lists(STEPS, max_size=5), st.sampled_from([0.0, 0.0, 0.02]))
    def fuzz(opening: bytes, steps: Sequence[bytes], pause_s: float) -> None:
        reason, _ = talk(server, [opening, *steps], pause_s=pause_s)
        assert server.process.poll() is None, "the server is gone"
        assert not (faults := server.faults()), (reason, faults)

    fuzz()
    check_works(server)

"""A server as a process: announced, stopped by signals, gone with its parent."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from maia.generation.v1 import generation_pb2, generation_pb2_grpc
from maia.wire.channels import open_channel
from maia.wire.errors import InternalError
from maia.wire.status import translated

PROGRAM = Path(__file__).with_name("serving.py")
Process = asyncio.subprocess.Process


@asynccontextmanager
async def started(*arguments: str) -> AsyncIterator[tuple[Process, str]]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(PROGRAM), *arguments, stdin=pipe, stdout=pipe, stderr=pipe
    )
    assert process.stdout is not None
    try:
        ready = json.loads(await asyncio.wait_for(process.stdout.readline(), 30))
        assert ready["ready"] == "generation"
        assert ready["pid"] == process.pid
        yield process, ready["address"]
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def in_flight(address: str, act: Callable[[], Coroutine[None, None, None]]) -> str:
    """Act while a call of one second is in flight; return how the call ended."""
    async with open_channel(address) as channel:
        stub = generation_pb2_grpc.GenerationServiceStub(channel)
        await stub.GetGenerator(generation_pb2.GetGeneratorRequest(), timeout=10)
        call = stub.GenerateImages(generation_pb2.GenerateImagesRequest(), timeout=20)
        await asyncio.sleep(0.2)
        assert not call.done()
        await act()
        return (await call.code()).name


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains(number: signal.Signals) -> None:
    async with started("20") as (process, address):

        async def stop() -> None:
            process.send_signal(number)

        assert await in_flight(address, stop) == "OK"
        assert await asyncio.wait_for(process.wait(), 20) == 0


async def test_a_second_signal_does_not_wait() -> None:
    async with started("600") as (process, address):

        async def stop_twice() -> None:
            process.terminate()
            await asyncio.sleep(0.1)
            process.terminate()

        assert await in_flight(address, stop_twice) != "OK"
        assert await asyncio.wait_for(process.wait(), 20) == 0


async def test_a_server_ends_with_its_parent() -> None:
    async with started("20", "--end-with-stdin") as (process, address):

        async def close() -> None:
            assert process.stdin is not None
            process.stdin.close()

        assert await in_flight(address, close) == "OK"
        assert await asyncio.wait_for(process.wait(), 20) == 0


async def test_a_server_outlives_a_killed_parent_by_no_more_than_its_drain(tmp_path: Path) -> None:
    parent = (
        "import subprocess, sys, time\n"
        f"command = [sys.executable, {str(PROGRAM)!r}, '5', '--end-with-stdin']\n"
        "child = subprocess.Popen(command, stdin=subprocess.PIPE)\n"
        "time.sleep(60)\n"
    )
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", parent, stdout=pipe)
    assert process.stdout is not None
    ready = json.loads(await asyncio.wait_for(process.stdout.readline(), 30))
    process.kill()
    await process.stdout.read()  # the end of the pipe that the child inherited
    await process.wait()
    async with open_channel(ready["address"]) as channel:
        with pytest.raises(grpc.aio.AioRpcError):
            await generation_pb2_grpc.GenerationServiceStub(channel).GetGenerator(
                generation_pb2.GetGeneratorRequest(), timeout=2
            )


async def test_an_end_that_cannot_be_seen_is_refused() -> None:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(PROGRAM), "5", "--end-with-stdin", stdin=asyncio.subprocess.DEVNULL, stderr=pipe
    )
    _, errors = await process.communicate()
    assert process.returncode == 1
    assert b"standard input is no pipe" in errors


async def test_logs_are_json_lines_on_standard_error() -> None:
    async with started("1") as (process, address):
        async with open_channel(address) as channel:
            await generation_pb2_grpc.GenerationServiceStub(channel).GetGenerator(generation_pb2.GetGeneratorRequest())
        process.terminate()
        output, errors = await process.communicate()
    lines = [json.loads(line) for line in errors.decode().splitlines()]
    assert output == b""
    assert [line["event"] for line in lines] == ["serving", "call", "stopping", "stopped"]
    assert all(line["timestamp"] and line["level"] == "info" for line in lines)


async def test_an_unplanned_error_is_whole_in_the_log_and_scrubbed_for_the_caller() -> None:
    request = generation_pb2.GenerateImagesRequest(items=[generation_pb2.GenerateItem(prompt="x")])
    async with started("1") as (process, address):
        async with open_channel(address) as channel:
            with pytest.raises(InternalError) as caught, translated(server="server"):
                await generation_pb2_grpc.GenerationServiceStub(channel).GenerateImages(request)
        process.terminate()
        _, errors = await process.communicate()
    assert "secret" not in caught.value.message
    (line,) = [line for line in errors.decode().splitlines() if "unplanned error" in line]
    assert json.loads(line)["incident"] == caught.value.metadata["incident"]
    assert "a secret of the server" in line
    assert "serving.py" in line

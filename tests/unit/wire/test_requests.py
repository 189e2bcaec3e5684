"""Requests that do not come: of who may not call, of one client after many, and what a server holds meanwhile."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from grpc_health.v1 import health
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tests.unit.wire.lab import client_of, logged, made, naming, server_of

from maia.wire import requests, tokens
from maia.wire.access import Access, _Shares
from maia.wire.channels import open_channel
from maia.wire.errors import (
    DeadlineExceededError,
    InvalidRequestError,
    OverloadedError,
    PermissionRefusedError,
    UnauthenticatedError,
)
from maia.wire.limits import MAX_STREAMS, REQUESTS_AT_ONCE
from maia.wire.requests import only_request
from maia.wire.server import ServerOptions, running
from maia.wire.status import translated
from maia.wire.tls import ClientCredentials
from maia.wire.tokens import Quota, TokenFile, add_principal

_METHOD = "/maia.generation.v1.GenerationService/GetGenerator"


async def silence() -> AsyncIterator[bytes]:
    """The requests of a client that opens a call and sends nothing."""
    await asyncio.Event().wait()
    yield b""


def silent_call(channel: Any, method: str = _METHOD) -> Any:  # gRPC's stubs know no bytes as messages
    return channel.stream_unary(method)(silence(), timeout=20)


@pytest.fixture
def token_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tokens, "_LOOK_S", 0)
    file = tmp_path / "tokens.toml"
    add_principal(file, "alice", ["generation"], tmp_path / "alice.token")
    return file


def revoke(token_file: Path) -> None:
    token_file.write_text(f"{token_file.read_text()}revoked = true\n")


async def test_who_may_not_call_is_refused_before_the_request_comes(token_file: Path, tmp_path: Path) -> None:
    certs = made(tmp_path / "certs")
    access = Access(certificates=frozenset({"orchestrator"}))
    async with (
        running([naming()], ServerOptions(credentials=server_of(certs), access=access)) as server,
        open_channel(server.address, client_of(certs, "sandbox")) as channel,
    ):
        with pytest.raises(PermissionRefusedError, match="certificate of sandbox"), translated(server="x"):
            await silent_call(channel)
    async with (
        running([naming()], ServerOptions(access=Access(tokens=TokenFile(token_file)))) as server,
        open_channel(server.address) as channel,
    ):
        with pytest.raises(UnauthenticatedError), translated(server="x"):
            await silent_call(channel)


async def test_a_call_counts_from_its_beginning_on() -> None:
    options = ServerOptions(access=Access(quota=Quota(concurrent=1)))
    async with running([naming()], options) as server, open_channel(server.address) as channel:
        waiting = silent_call(channel)
        await waiting.wait_for_connection()
        with pytest.raises(OverloadedError) as caught, translated(server="x"):
            await _called_until_refused(channel)
        assert caught.value.reason == "CLIENT_TOO_BUSY"
        waiting.cancel()


async def _called_until_refused(channel: Any) -> None:
    for _ in range(100):
        await channel.unary_unary(_METHOD)(b"", timeout=10)
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("method", [_METHOD, f"/{health.SERVICE_NAME}/Check"])
async def test_a_request_that_does_not_come_is_not_waited_for(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "REQUEST_S", 0.05)
    async with running([naming()]) as server, open_channel(server.address) as channel:
        with pytest.raises(DeadlineExceededError, match=r"within 0\.05 s") as caught, translated(server="x"):
            await silent_call(channel, method)
        assert caught.value.reason == "REQUEST_SLOW"


async def test_a_call_that_ends_without_a_request_is_told() -> None:
    async with running([naming()]) as server, open_channel(server.address) as channel:
        call: Any = channel.stream_unary(_METHOD)
        with pytest.raises(InvalidRequestError, match="before its request came"), translated(server="x"):
            await call(iter(()), timeout=10)


async def test_only_some_requests_of_a_client_are_read_at_the_same_time() -> None:
    turns, come, asked = asyncio.Semaphore(REQUESTS_AT_ONCE), asyncio.Event(), 0

    async def coming() -> AsyncIterator[bytes]:
        nonlocal asked
        asked += 1
        await come.wait()
        yield b"request"

    calls = [asyncio.ensure_future(only_request(coming(), turns)) for _ in range(3 * REQUESTS_AT_ONCE)]
    for _ in range(10):
        await asyncio.sleep(0)
    assert asked == REQUESTS_AT_ONCE
    come.set()
    assert await asyncio.gather(*calls) == [b"request"] * len(calls)


async def test_a_server_says_how_many_calls_a_connection_may_have_and_takes_little_ahead() -> None:
    async with running([naming()]) as server:
        settings = await asyncio.to_thread(_settings, server.address)
    assert settings[3] == MAX_STREAMS  # SETTINGS_MAX_CONCURRENT_STREAMS
    assert settings[4] <= 65_535  # SETTINGS_INITIAL_WINDOW_SIZE


def _settings(address: str) -> dict[int, int]:
    """What a server's first HTTP/2 frame says."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
        head = connection.recv(9, socket.MSG_WAITALL)
        assert head[3] == 4  # SETTINGS
        return dict(struct.iter_unpack(">HI", connection.recv(int.from_bytes(head[:3]), socket.MSG_WAITALL)))


async def test_an_open_stream_ends_once_its_token_is_revoked(token_file: Path) -> None:
    token = token_file.with_name("alice.token").read_text().strip()
    options = ServerOptions(access=Access(tokens=TokenFile(token_file)), reflection=True)
    ask = reflection_pb2.ServerReflectionRequest(list_services="")
    async with running([naming()], options) as server, open_channel(server.address) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        stream = stub.ServerReflectionInfo(metadata=(("authorization", f"Bearer {token}"),), timeout=20)
        await stream.write(ask)
        assert (await stream.read()).list_services_response.service
        revoke(token_file)
        with logged() as lines:
            await stream.write(ask)
            with pytest.raises(UnauthenticatedError) as caught, translated(server="x"):
                await stream.read()
        assert caught.value.reason == "TOKEN_REVOKED"
        assert [line["client"] for line in lines if line["event"] == "refused"] == ["alice"]


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER  "])
async def test_the_scheme_of_a_token_may_be_spelt_in_any_case(token_file: Path, scheme: str) -> None:
    token = token_file.with_name("alice.token").read_text().strip()
    assert await _called(token_file, scheme + token)


async def test_of_two_tokens_none_is_chosen(token_file: Path) -> None:
    token = f"Bearer {token_file.with_name('alice.token').read_text().strip()}"
    with pytest.raises(UnauthenticatedError, match="one token only"):
        await _called(token_file, "Bearer another", token)
    with pytest.raises(UnauthenticatedError, match="one token only"):
        await _called(token_file, token, token)


async def _called(token_file: Path, *authorizations: str) -> bool:
    options = ServerOptions(access=Access(tokens=TokenFile(token_file)))
    async with running([naming()], options) as server, open_channel(server.address) as channel:
        call: Any = channel.unary_unary(_METHOD)
        with translated(server="x"):
            await call(b"", metadata=tuple(("authorization", one) for one in authorizations), timeout=10)
    return True


def test_one_long_session_does_not_keep_all_later_clients_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maia.wire.access._REMEMBERED", 10)
    shares = _Shares()
    shares.of("session").calls += 1
    for number in range(1000):
        shares.of(f"client {number}")
    assert len(shares._shares) <= 10
    assert shares.of("session").calls == 1


def test_no_representation_shows_a_token(token_file: Path, tmp_path: Path) -> None:
    from maia.wire.tls import ClientIdentity, TokenSource

    identity = ClientIdentity(ClientCredentials(token=TokenSource(file=tmp_path / "alice.token")), encrypted=False)
    assert "maia_" in str(identity.metadata)
    assert "maia_" not in repr(identity)

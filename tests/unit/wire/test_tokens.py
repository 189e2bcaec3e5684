"""Tokens: whose they are, what they are for and how much, over a real connection; and limits without them."""

from __future__ import annotations

import asyncio
import datetime as dt
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from pydantic import SecretStr
from tests.unit.wire.lab import client_of, logged, made, naming, server_of
from typing_extensions import override

from maia.generation.v1 import generation_pb2 as pb
from maia.generation.v1 import generation_pb2_grpc
from maia.wire import tls
from maia.wire import tokens as tokens_module
from maia.wire.access import Access, scope_of
from maia.wire.channels import open_channel, wait_until_serving
from maia.wire.errors import (
    InvalidRequestError,
    MaiaError,
    OverloadedError,
    PermissionRefusedError,
    PreconditionError,
    UnauthenticatedError,
)
from maia.wire.server import Hosted, RunningServer, ServerOptions, running
from maia.wire.status import translated
from maia.wire.tls import ClientCredentials, TokenSource
from maia.wire.tokens import Principal, Quota, TokenFile, add_principal, hash_of, read_principals


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tokens_module, "_LOOK_S", 0)
    monkeypatch.setattr(tls, "_LOOK_S", 0)
    return tmp_path / "tokens.toml"


def token_of(file: Path, name: str, scopes: tuple[str, ...] = ("generation",), **more: object) -> str:
    out = file.with_name(f"{name}.token")
    add_principal(file, name, scopes, out, **more)  # type: ignore[arg-type]
    return out.read_text().strip()


@pytest.fixture
async def server(file: Path) -> AsyncIterator[RunningServer]:
    token_of(file, "somebody")
    async with running([naming()], ServerOptions(access=Access(tokens=TokenFile(file)))) as server:
        yield server


def revoke(file: Path, name: str) -> None:
    file.write_text(file.read_text().replace(f"[principals.{name}]", f"[principals.{name}]\nrevoked = true"))


def spoil(file: Path) -> None:
    file.write_text("[principals.alice")


def bearing(token: str | None) -> ClientCredentials | None:
    return ClientCredentials(token=TokenSource(SecretStr(token))) if token else None


async def name_at(server: RunningServer, credentials: ClientCredentials | None) -> str:
    async with open_channel(server.address, credentials) as channel:
        stub = generation_pb2_grpc.GenerationServiceStub(channel)
        with translated(server="generation server"):
            return str((await stub.GetGenerator(pb.GetGeneratorRequest(), timeout=10)).generator)


async def refusal_at(server: RunningServer, token: str | None) -> MaiaError:
    """What a client is told, and the server's one line of it, which never holds the token."""
    with logged() as lines, pytest.raises(MaiaError) as caught:
        await name_at(server, bearing(token))
    (line,) = [line for line in lines if line["event"] == "refused"]
    assert line["reason"] == caught.value.reason
    assert token is None or token not in str(lines)
    assert token is None or token not in str(caught.value)
    return caught.value


async def test_a_token_names_its_owner_to_the_server(server: RunningServer, file: Path) -> None:
    assert await name_at(server, bearing(token_of(file, "alice"))) == "alice"
    assert await name_at(server, bearing(token_of(file, "bob", ("*",)))) == "bob"


async def test_health_needs_no_token(server: RunningServer) -> None:
    async with open_channel(server.address) as channel:
        await wait_until_serving(channel, server="generation server", timeout_s=5)
    assert (await refusal_at(server, None)).reason == "TOKEN_MISSING"


async def test_who_may_not_is_told_why(server: RunningServer, file: Path) -> None:
    missing = await refusal_at(server, None)
    assert isinstance(missing, UnauthenticatedError)
    assert missing.reason == "TOKEN_MISSING"
    assert "generation server" in missing.message
    unknown = await refusal_at(server, "maia_of_another_lab")
    assert isinstance(unknown, UnauthenticatedError)
    assert unknown.reason == "TOKEN_UNKNOWN"
    other = await refusal_at(server, token_of(file, "carol", ("subject", "editing")))
    assert isinstance(other, PermissionRefusedError)
    assert other.reason == "TOKEN_SCOPE"
    assert "carol is for subject, editing, not for generation" in other.message
    yesterday = dt.datetime.now(dt.UTC) - dt.timedelta(1)
    expired = await refusal_at(server, token_of(file, "dave", expires=yesterday))
    assert isinstance(expired, UnauthenticatedError)
    assert expired.reason == "TOKEN_EXPIRED"
    assert f"{yesterday:%Y-%m-%d}" in expired.message


async def test_a_revoked_token_is_refused_without_a_restart(server: RunningServer, file: Path) -> None:
    token = token_of(file, "alice")
    async with open_channel(server.address, bearing(token)) as channel:
        stub = generation_pb2_grpc.GenerationServiceStub(channel)
        await stub.GetGenerator(pb.GetGeneratorRequest(), timeout=10)
        revoke(file, "alice")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GetGenerator(pb.GetGeneratorRequest(), timeout=10)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert (await refusal_at(server, token)).reason == "TOKEN_REVOKED"


async def test_a_spoilt_file_leaves_the_earlier_principals_in_force(server: RunningServer, file: Path) -> None:
    token = token_of(file, "alice")
    assert await name_at(server, bearing(token)) == "alice"
    spoil(file)
    with logged() as lines:
        assert await name_at(server, bearing(token)) == "alice"
    (told,) = [line for line in lines if "not taken" in str(line["event"])]
    assert "no TOML" in str(told["why"])


async def test_a_new_token_in_a_clients_file_is_taken_up(server: RunningServer, file: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_text(f"{token_of(file, 'old')}\n")
    credentials = ClientCredentials(token=TokenSource(file=mine))
    async with open_channel(server.address, credentials) as channel:
        stub = generation_pb2_grpc.GenerationServiceStub(channel)
        assert (await stub.GetGenerator(pb.GetGeneratorRequest(), timeout=10)).generator == "old"
        mine.write_text(f"{token_of(file, 'another')}\n")
        assert (await stub.GetGenerator(pb.GetGeneratorRequest(), timeout=10)).generator == "another"


async def test_a_token_goes_before_the_certificates_name(file: Path, tmp_path: Path) -> None:
    certs = made(tmp_path / "certs")
    token = token_of(file, "alice")
    access = Access(tokens=TokenFile(file), certificates=frozenset({"orchestrator"}))
    async with running([naming()], ServerOptions(credentials=server_of(certs), access=access)) as server:
        assert await name_at(server, client_of(certs, token=token)) == "alice"
        with pytest.raises(PermissionRefusedError, match="certificate of subject"):
            await name_at(server, client_of(certs, "subject", token=token))
        with pytest.raises(UnauthenticatedError, match="MAIA_TOKEN"):
            await name_at(server, client_of(certs))


class Waiting(generation_pb2_grpc.GenerationServiceServicer):
    def __init__(self) -> None:
        self.begun = asyncio.Semaphore(0)
        self.end = asyncio.Event()

    @override
    async def GetGenerator(self, request: object, context: object) -> pb.GetGeneratorResponse:
        self.begun.release()
        await self.end.wait()
        return pb.GetGeneratorResponse()

    @override
    async def GenerateImages(self, request: pb.GenerateImagesRequest, context: object) -> pb.GenerateImagesResponse:
        return pb.GenerateImagesResponse()


def waiting(servicer: Waiting) -> Hosted:
    descriptor = pb.DESCRIPTOR.services_by_name["GenerationService"]
    return Hosted(descriptor, generation_pb2_grpc.add_GenerationServiceServicer_to_server, servicer)


async def test_more_calls_at_a_time_than_a_quota_are_told_to_come_back(file: Path) -> None:
    few, many = token_of(file, "few", quota={"concurrent": 1}), token_of(file, "many")
    servicer = Waiting()
    async with (
        running([waiting(servicer)], ServerOptions(access=Access(tokens=TokenFile(file)))) as server,
        open_channel(server.address, bearing(few)) as channel,
        open_channel(server.address, bearing(many)) as other,
    ):
        stub = generation_pb2_grpc.GenerationServiceStub(channel)
        first = stub.GetGenerator(pb.GetGeneratorRequest(), timeout=10)
        await servicer.begun.acquire()
        with pytest.raises(OverloadedError) as caught, translated(server="x"):
            await stub.GetGenerator(pb.GetGeneratorRequest(), timeout=10)
        assert caught.value.reason == "CLIENT_TOO_BUSY"
        assert caught.value.retry_after_s > 0
        await generation_pb2_grpc.GenerationServiceStub(other).GenerateImages(pb.GenerateImagesRequest(), timeout=10)
        servicer.end.set()
        await first
        await stub.GetGenerator(pb.GetGeneratorRequest(), timeout=10)


async def test_too_many_calls_a_second_are_told_when_to_come_back(file: Path, tmp_path: Path) -> None:
    certs, token = made(tmp_path / "certs"), token_of(file, "slow", quota={"requests_per_s": 0.01})
    options = ServerOptions(credentials=server_of(certs), access=Access(tokens=TokenFile(file)))
    async with (
        running([naming()], options) as server,
        open_channel(server.address, client_of(certs, token=token)) as channel,
    ):
        stub = generation_pb2_grpc.GenerationServiceStub(channel)
        await stub.GetGenerator(pb.GetGeneratorRequest(), timeout=10)
        with logged() as lines, pytest.raises(OverloadedError) as caught, translated(server="x"):
            await stub.GetGenerator(pb.GetGeneratorRequest(), timeout=10)
        assert [line["client"] for line in lines if line["event"] == "refused"] == ["slow"]
        assert caught.value.reason == "CLIENT_TOO_FAST"
        assert 50 < caught.value.retry_after_s <= 100


async def test_a_request_over_the_size_is_refused_for_good_without_being_read() -> None:
    options = ServerOptions(access=Access(quota=Quota(request_bytes=1000)))
    async with running([naming()], options) as server, open_channel(server.address) as channel:
        malformed: Any = channel.unary_unary("/maia.generation.v1.GenerationService/GenerateImages")
        with pytest.raises(InvalidRequestError, match="at most 1000") as caught, translated(server="x"):
            await malformed(b"\xff" * 2000, timeout=10)
        assert caught.value.reason == "REQUEST_TOO_LARGE"  # and not that it is malformed
        with pytest.raises(InvalidRequestError) as caught, translated(server="x"):
            await malformed(b"\xff" * 20, timeout=10)
        assert caught.value.reason == "REQUEST_MALFORMED"


def test_the_token_is_its_owners_and_the_file_has_its_hash(file: Path) -> None:
    token = token_of(file, "alice", ("subject",), quota={"requests_per_s": 2.5, "concurrent": 3})
    out = file.with_name("alice.token")
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert token not in file.read_text()
    alice = read_principals(file)["alice"]
    assert alice.sha256 == hash_of(token)
    assert alice.quota == Quota(2.5, 3, 0)
    token_of(file, "bob")
    assert list(read_principals(file)) == ["alice", "bob"]
    with pytest.raises(InvalidRequestError, match="entry for alice already"):
        token_of(file, "alice")
    with pytest.raises(PreconditionError, match="never overwritten"):
        add_principal(file, "carol", ["subject"], out)
    assert "carol" not in read_principals(file)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[principals.a]\nsha256 = 'maia_secret'\nscopes = ['subject']", "principals.a: sha256"),
        (f"[principals.a]\nsha256 = '{'0' * 64}'\nscopes = ['subjects']", "no scope 'subjects'; valid: subject"),
        (f"[principals.a]\nsha256 = '{'0' * 64}'\nscopes = []", "principals.a: scopes"),
        (f"[principals.a]\nsha256 = '{'0' * 64}'\nscopes = ['*']\nscope = 1", "principals.a: scope"),
        ("[tokens.a]", "tables \\[principals.NAME\\], not tokens"),
        ("principals = 3", "tables"),
        ("[principals", "no TOML"),
        (
            "".join(f"[principals.{name}]\nsha256 = '{'0' * 64}'\nscopes = ['*']\n" for name in "ab"),
            "a and b have the same token",
        ),
    ],
)
def test_a_file_that_cannot_be_is_told_in_a_line(file: Path, text: str, said: str) -> None:
    file.write_text(text)
    with pytest.raises(PreconditionError, match=said) as caught:
        TokenFile(file)
    assert "\n" not in caught.value.message
    assert "maia_secret" not in caught.value.message


def test_a_date_without_a_zone_is_utc() -> None:
    principal = Principal.model_validate({"sha256": "0" * 64, "scopes": ["*"], "expires": dt.date(2030, 1, 2)})
    assert principal.expires == dt.datetime(2030, 1, 2, tzinfo=dt.UTC)


@pytest.mark.parametrize("content", ["", "two words", "é"])
def test_a_token_file_without_a_token_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "mine").write_text(content)
    (tmp_path / "huge").write_text("a" * 4097)
    with pytest.raises(PreconditionError, match=r"huge holds no token: .* at most 4096"):
        TokenSource(file=tmp_path / "huge").read()
    with pytest.raises(PreconditionError, match="holds no token"):
        TokenSource(file=tmp_path / "mine").read()
    with pytest.raises(PreconditionError, match="cannot be read"):
        TokenSource(file=tmp_path / "other").read()


def test_every_service_has_a_scope_and_grpcs_own_have_none() -> None:
    assert scope_of("/maia.subject.v1.SubjectService/ListSubjects") == "subject"
    assert scope_of("maia.execution.v1.ExecutionService") == "sandbox"
    assert scope_of("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo") is None


@pytest.mark.parametrize(
    ("scopes", "quota", "said"),
    [
        ((), {}, "scopes: .*at least 1 item"),
        (("subject",), {"requests_per_s": float("inf")}, "requests_per_s: .*finite number"),
        (("subject",), {"concurrent": -1}, "concurrent: .*greater than or equal to 0, not -1"),
    ],
)
def test_an_entry_that_cannot_be_leaves_the_file_as_it_was(
    file: Path, scopes: tuple[str, ...], quota: dict[str, float], said: str
) -> None:
    token_of(file, "alice")
    before = file.read_text()
    with pytest.raises(InvalidRequestError, match=said):
        token_of(file, "bob", scopes, quota=quota)
    assert file.read_text() == before
    assert not file.with_name("bob.token").exists()

"""Mutual TLS over real connections: who is let in, what the others are told, and renewal without a restart."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from pydantic import SecretStr
from tests.unit.wire.lab import client_of, days_ago, logged, made, naming, server_of

from maia.generation.v1 import generation_pb2 as pb
from maia.generation.v1 import generation_pb2_grpc
from maia.wire import tls
from maia.wire.access import Access
from maia.wire.certificates import make_certificates
from maia.wire.channels import open_channel, wait_until_serving
from maia.wire.errors import InvalidRequestError, MaiaError, PreconditionError, UnauthenticatedError, UnavailableError
from maia.wire.server import RunningServer, ServerOptions, running
from maia.wire.settings import ServerSettings, load_settings
from maia.wire.status import translated
from maia.wire.tls import ClientCredentials, ServerCredentials, TokenSource, read_pem

SECURE = Access(certificates=frozenset({"orchestrator"}))


@pytest.fixture(scope="module")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("lab") / "certs", clients=("alice",))


@pytest.fixture
async def server(certs: Path) -> AsyncIterator[RunningServer]:
    async with running([naming()], ServerOptions(credentials=server_of(certs), access=SECURE, drain_s=0.1)) as server:
        yield server


async def name_at(address: str, credentials: ClientCredentials | None) -> str:
    async with open_channel(address, credentials) as channel:
        stub = generation_pb2_grpc.GenerationServiceStub(channel)
        with translated(server="generation server"):
            return str((await stub.GetGenerator(pb.GetGeneratorRequest(), timeout=10)).generator)


async def refusal_at(address: str, credentials: ClientCredentials | None) -> MaiaError:
    async with open_channel(address, credentials) as channel:
        with pytest.raises(MaiaError) as caught:
            await wait_until_serving(channel, server="generation server", timeout_s=0.5)
    return caught.value


async def test_a_client_of_the_ca_is_let_in_by_its_name(server: RunningServer, certs: Path) -> None:
    assert await name_at(server.address, client_of(certs)) == "orchestrator"


async def test_another_certificate_of_the_ca_may_ask_for_health_and_nothing_else(
    server: RunningServer, certs: Path
) -> None:
    async with open_channel(server.address, client_of(certs, "subject")) as channel:
        await wait_until_serving(channel, server="generation server", timeout_s=5)
    with logged() as lines, pytest.raises(MaiaError, match="certificate of subject may not call") as caught:
        await name_at(server.address, client_of(certs, "subject"))
    assert caught.value.reason == "CLIENT_NOT_ALLOWED"
    refused = [line for line in lines if line["event"] == "refused"]
    assert [(line["reason"], line["client"]) for line in refused] == [("CLIENT_NOT_ALLOWED", "subject")]


async def test_every_certificate_may_where_clients_are_not_named(certs: Path) -> None:
    async with running([naming()], ServerOptions(credentials=server_of(certs))) as server:
        assert await name_at(server.address, client_of(certs, "alice")) == "alice"


async def test_a_foreign_certificate_is_refused_with_the_words_of_tls(
    server: RunningServer, certs: Path, tmp_path: Path
) -> None:
    foreign = made(tmp_path / "foreign")
    mixed = dataclasses.replace(client_of(foreign), ca=certs / "ca.pem")
    refused = await refusal_at(server.address, mixed)
    assert isinstance(refused, UnauthenticatedError)
    assert refused.reason == "TLS_REFUSED"
    assert "does not accept our certificate" in refused.message


async def test_a_client_without_a_certificate_is_told_that_it_needs_one(server: RunningServer) -> None:
    refused = await refusal_at(server.address, None)
    assert isinstance(refused, UnauthenticatedError)
    assert "takes TLS only" in refused.message
    assert "tls_cert" in refused.message


async def test_an_expired_certificate_that_a_client_shows_all_the_same_is_refused(
    server: RunningServer, certs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "old"
    shutil.copytree(certs, old)
    for file in (old / "orchestrator.pem", old / "orchestrator-key.pem"):
        file.unlink()
    with days_ago(10):
        make_certificates(old, hosts={}, days=1, renew_within_days=0)
    with pytest.raises(PreconditionError, match="has expired, on 20"):
        open_channel(server.address, client_of(old))
    monkeypatch.setattr(tls, "_check_dates", lambda *_: None)  # as a client of another make
    refused = await refusal_at(server.address, client_of(old))
    assert isinstance(refused, UnauthenticatedError)
    assert "expired by its clock" in refused.message


async def test_a_server_of_another_ca_is_not_trusted(server: RunningServer, certs: Path, tmp_path: Path) -> None:
    mixed = dataclasses.replace(client_of(certs), ca=made(tmp_path / "foreign") / "ca.pem")
    refused = await refusal_at(server.address, mixed)
    assert isinstance(refused, UnauthenticatedError)
    assert "not to be trusted" in refused.message
    with pytest.raises(UnauthenticatedError, match="CERTIFICATE_VERIFY_FAILED"):
        await name_at(server.address, mixed)


async def test_tls_to_a_server_of_plain_text_says_so(certs: Path) -> None:
    async with running([naming()]) as plain:
        refused = await refusal_at(plain.address, client_of(certs))
        assert "speaks plain text" in refused.message
        assert await name_at(plain.address, None) == ""


async def test_a_unix_socket_needs_no_certificate(certs: Path, tmp_path: Path) -> None:
    options = ServerOptions(f"unix:{tmp_path}/s", credentials=server_of(certs), access=SECURE)
    async with running([naming()], options) as server:
        assert await name_at(server.address, client_of(certs)) == ""
        assert await name_at(server.address, None) == ""


async def test_certificates_are_renewed_on_both_sides_without_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "_LOOK_S", 0)
    certs = made(tmp_path / "certs", days=2)
    options = ServerOptions(credentials=server_of(certs), access=SECURE)
    async with running([naming()], options) as server, open_channel(server.address, client_of(certs)) as channel:
        stub = generation_pb2_grpc.GenerationServiceStub(channel)
        await stub.GetGenerator(pb.GetGeneratorRequest(), timeout=10)
        before = await served_certificate(server.address)
        # Another authority as well: whoever still showed or trusted the earlier files would fail.
        shutil.rmtree(certs)
        made(certs)
        with logged() as lines:
            answer = await stub.GetGenerator(pb.GetGeneratorRequest(), timeout=10)
        assert answer.generator == "orchestrator"
        assert await served_certificate(server.address) != before
        assert "certificate renewed" in [line["event"] for line in lines]


async def test_half_a_renewal_leaves_the_earlier_certificate_in_force(tmp_path: Path) -> None:
    certs = made(tmp_path / "certs")
    async with running([naming()], ServerOptions(credentials=server_of(certs), access=SECURE)) as server:
        before = await served_certificate(server.address)
        shutil.copy(certs / "editing-key.pem", certs / "generation-key.pem")
        with logged() as lines:
            assert await name_at(server.address, client_of(certs)) == "orchestrator"
        assert await served_certificate(server.address) == before
        (told,) = [line for line in lines if "not taken" in str(line["event"])]
        assert "does not belong to" in str(told["why"])


async def served_certificate(address: str) -> str:
    """What a server shows, as any stranger sees it."""
    import ssl

    host, _, port = address.rpartition(":")
    return await asyncio.to_thread(ssl.get_server_certificate, (host, int(port)))


@pytest.mark.parametrize(
    ("spoil", "reason", "said"),
    [
        (
            lambda certs: (certs / "subject.pem").unlink(),
            "TLS_FILE_UNREADABLE",
            r"subject\.pem cannot be read: No such",
        ),
        (
            lambda certs: (certs / "subject.pem").write_text("x"),
            "TLS_FILE_INVALID",
            r"subject\.pem holds no certificate",
        ),
        (lambda certs: (certs / "subject-key.pem").write_text("x"), "TLS_FILE_INVALID", "holds no private key"),
        (
            lambda certs: shutil.copy(certs / "editing-key.pem", certs / "subject-key.pem"),
            "TLS_KEY_MISMATCH",
            r"subject-key\.pem does not belong to",
        ),
    ],
)
def test_files_that_cannot_be_are_told_at_the_start(tmp_path: Path, spoil: object, reason: str, said: str) -> None:
    certs = made(tmp_path / "certs")
    spoil(certs)  # type: ignore[operator]
    with pytest.raises(PreconditionError, match=said) as caught:
        server_of(certs, "subject").check()
    assert caught.value.reason == reason
    assert "\n" not in caught.value.message


def test_dates_are_told_with_the_file_and_the_moment(tmp_path: Path) -> None:
    old = made(tmp_path / "old", ago=20, days=5)
    with pytest.raises(PreconditionError, match=r"subject\.pem has expired, on 20\d\d-\d\d-\d\d \d\d:\d\d UTC"):
        server_of(old, "subject").check()
    early = made(tmp_path / "early", ago=-2)
    with pytest.raises(PreconditionError, match=r"ca\.pem is not valid yet: from .* clocks apart") as caught:
        server_of(early, "subject").check()
    assert caught.value.reason == "TLS_CERTIFICATE_NOT_YET_VALID"


async def test_other_machines_take_certificates(certs: Path) -> None:
    with pytest.raises(InvalidRequestError, match=r"maia certs certs.*--tls-ca certs/ca\.pem"):
        open_channel("10.0.0.5:7411", ClientCredentials(token=TokenSource(SecretStr("maia_x"))))
    async with open_channel("10.0.0.5:7411", client_of(certs)):
        pass


async def test_a_server_on_another_address_says_how_to_make_them() -> None:
    with pytest.raises(
        InvalidRequestError, match=r"maia certs certs --host generation=.*--tls-cert certs/generation\.pem"
    ):
        async with running([naming()], ServerOptions("0.0.0.0:0")):
            pass


async def test_with_certificates_any_address_is_bound(certs: Path) -> None:
    options = ServerOptions("0.0.0.0:0", credentials=server_of(certs), access=SECURE)
    async with running([naming()], options) as server:
        port = server.address.rpartition(":")[2]
        assert await name_at(f"127.0.0.1:{port}", client_of(certs)) == "orchestrator"


def test_one_file_without_the_others_is_refused(certs: Path) -> None:
    settings = load_settings(ServerSettings, "subject", ["--tls-cert", str(certs / "subject.pem")], program="x")
    with pytest.raises(InvalidRequestError, match="tls_key and tls_client_ca are missing"):
        _ = settings.options
    with pytest.raises(InvalidRequestError, match="tls_ca and tls_cert are missing"):
        ClientCredentials.of(None, None, certs / "subject-key.pem")


def test_no_secret_is_in_what_is_shown() -> None:
    credentials = ClientCredentials.of(None, None, None, token=SecretStr("maia_secret"))
    assert "maia_secret" not in repr(credentials)


def test_the_probe_asks_with_the_servers_own_certificate(tmp_path: Path) -> None:
    certs = made(tmp_path / "certs")
    ca, certificate, key = (certs / name for name in ("ca.pem", "sandbox.pem", "sandbox-key.pem"))
    said = subprocess.run(
        [sys.executable, "-m", "maia.wire.probe", "127.0.0.1:1", "--tls-ca", ca, "--tls-cert", certificate,
         "--tls-key", key, "--timeout-s", "0.2"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert said.returncode == 1
    assert said.stderr.startswith("error: the server at 127.0.0.1:1 was not ready")


def test_read_pem_tells_until_when(certs: Path) -> None:
    assert read_pem(certs / "ca.pem", certs / "subject.pem", certs / "subject-key.pem").until.tzinfo is not None


async def test_a_server_whose_certificate_has_expired_is_told_with_since_when(tmp_path: Path) -> None:
    certs = made(tmp_path / "certs")
    shown = expiring(certs, dt.datetime.now(dt.UTC) + dt.timedelta(seconds=2))
    async with running([naming()], ServerOptions(credentials=shown, access=SECURE)) as server:
        await asyncio.sleep(2)
        async with open_channel(server.address, client_of(certs)) as channel:
            with pytest.raises(UnauthenticatedError, match=r"its certificate expired on 20\d\d-.* UTC, and it is 20.*"):
                await wait_until_serving(channel, server="x", timeout_s=0.5)


def expiring(certs: Path, until: dt.datetime) -> ServerCredentials:
    """A server's certificate that is good for moments."""
    ca = x509.load_pem_x509_certificate((certs / "ca.pem").read_bytes())
    signing: Any = serialization.load_pem_private_key((certs / "ca-key.pem").read_bytes(), password=None)
    key: Any = serialization.load_pem_private_key((certs / "generation-key.pem").read_bytes(), password=None)
    before = x509.load_pem_x509_certificate((certs / "generation.pem").read_bytes())
    builder = x509.CertificateBuilder(
        before.issuer, before.subject, key.public_key(), 1, ca.not_valid_before_utc, until, list(before.extensions)
    )
    signed = builder.sign(signing, hashes.SHA256())
    (certs / "generation.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    return server_of(certs)


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("127.0.0.1:1", "nothing listens there"),
        ("no-such-host.invalid:7411", r"no host is called no-such-host\.invalid"),
        ("unix:/nowhere/x.sock", "there is no such socket"),
        (
            "127.0.0.1:1,unix:/nowhere/x.sock",
            r"127\.0\.0\.1:1: nothing listens there; unix:/nowhere/x\.sock: there is no",
        ),
    ],
)
async def test_why_nobody_answers_is_told(certs: Path, address: str, why: str) -> None:
    async with open_channel(address, client_of(certs)) as channel:
        with pytest.raises(UnavailableError, match=rf"the x was not ready within 0\.2 s \({why}"):
            await wait_until_serving(channel, server="x", timeout_s=0.2)


async def test_nobody_is_called_at_port_0() -> None:
    with pytest.raises(InvalidRequestError, match=r"nobody can be called at 127\.0\.0\.1:0"):
        open_channel("127.0.0.1:1,127.0.0.1:0")

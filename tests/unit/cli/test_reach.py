"""What the doctor finds at an address."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.unit.wire.lab import made, naming, server_of

from maia.cli import reach
from maia.cli.config import Config
from maia.cli.reach import certificate_rows, sandbox_host_rows, server_rows
from maia.cli.rows import Row
from maia.wire import server as wire_server
from maia.wire import versions
from maia.wire.certificates import files_of, make_certificates
from maia.wire.server import ServerOptions, running
from maia.wire.versions import own_version

NOBODY = "127.0.0.1:1"


def config(generation: str = NOBODY, **more: object) -> Config:
    nobody = dict.fromkeys(("subject_address", "editing_address", "exemplars_address", "description_address"), NOBODY)
    return Config.model_validate({"cache_dir": "/nowhere", **nobody, "generation_address": generation, **more})


def secured(certs: Path, client: str = "orchestrator") -> dict[str, Any]:
    ca, certificate, key = files_of(certs, client)
    return {"tls_ca": ca, "tls_cert": certificate, "tls_key": key}


async def found(generation: str, **more: object) -> list[Row]:
    """The rows about the generation server."""
    return [row for row in await server_rows(config(generation, **more)) if "generation" in row.detail]


async def test_each_replica_has_a_row_and_one_that_is_named_and_down_is_bad() -> None:
    async with running([naming()]) as server:
        rows = await found(f"{server.address},127.0.0.1:2")
    assert [row.mark for row in rows] == ["good", "bad"]
    assert rows[0].detail.startswith(f"generation at {server.address}: ")
    assert rows[0].detail.endswith(f"; maia {own_version()}")
    assert rows[1].detail.startswith("generation at 127.0.0.1:2: not running: ")


async def test_nothing_is_wrong_where_nothing_runs_and_nothing_was_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Config, "address", lambda self, name: NOBODY)
    rows = await server_rows(Config.model_validate({"cache_dir": "/nowhere"}))
    assert {row.mark for row in rows} == {"note"}
    assert rows[0].detail == f"subject at {NOBODY}: not running"
    assert "maia up starts them all" in rows[-1].detail


async def test_another_server_at_the_address_is_bad() -> None:
    async with running([naming()]) as server:
        rows = await server_rows(config(subject_address=server.address))
    assert rows[0].mark == "bad"
    assert "does not know maia.subject.v1.SubjectService, only maia.generation.v1" in rows[0].detail


async def test_another_release_is_bad_if_it_cannot_be_spoken_to_and_else_worth_knowing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    major, minor, _ = own_version().split(".")
    monkeypatch.setattr(wire_server, "own_version", lambda: f"{major}.{minor}.77")
    async with running([naming()]) as server:
        rows = await found(server.address)
    assert [row.mark for row in rows] == ["good", "note"]
    assert rows[1].detail.endswith(
        f"is maia {major}.{minor}.77 and this is maia {own_version()}; they speak to each other"
    )
    monkeypatch.setattr(wire_server, "own_version", lambda: "99.0.0")
    async with running([naming()]) as server:
        rows = await found(server.address)
    assert [row.mark for row in rows] == ["bad"]
    assert rows[0].detail.endswith("upgrade this side to 99.0.0")


@pytest.mark.parametrize(("seconds", "way"), [(7200, "ahead of"), (-7200, "behind")])
async def test_clocks_that_are_apart_are_told(monkeypatch: pytest.MonkeyPatch, seconds: int, way: str) -> None:
    monkeypatch.setattr(versions, "time", SimpleNamespace(time=lambda: time.time() + seconds))
    async with running([naming()]) as server:
        rows = await found(server.address)
    assert [row.mark for row in rows] == ["good", "bad"]
    assert f"s {way} ours; set both by NTP" in rows[1].detail


async def test_a_certificate_is_told_with_its_end(tmp_path: Path) -> None:
    certs, brief = made(tmp_path / "certs"), made(tmp_path / "brief", days=3)
    async with running([naming()], ServerOptions(credentials=server_of(certs))) as server:
        rows = await found(server.address, **secured(certs))
    assert [row.mark for row in rows] == ["good", "good"]
    assert "its certificate expires on 20" in rows[1].detail
    async with running([naming()], ServerOptions(credentials=server_of(brief))) as server:
        rows = await found(server.address, **secured(brief))
    assert rows[1].mark == "note"
    assert "days: renew it" in rows[1].detail


async def test_a_server_that_refuses_us_says_why(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    certs = made(tmp_path / "certs")
    async with running([naming()], ServerOptions(credentials=server_of(certs))) as server:
        rows = await found(server.address)
        assert [row.mark for row in rows] == ["bad"]
        assert "it takes TLS only" in rows[0].detail
    capfd.readouterr()  # gRPC's own lines


def test_our_own_certificate_and_token_are_checked(tmp_path: Path) -> None:
    certs = made(tmp_path / "certs")
    old = made(tmp_path / "old", ago=20, days=5)
    token = tmp_path / "token"
    token.write_text("maia_secret\n")
    token.chmod(0o600)
    rows = certificate_rows(config(**secured(certs), token_file=token))
    assert [row.mark for row in rows] == ["good", "good"]
    assert rows[1].detail == f"a token is in {token}"
    (expired, missing) = certificate_rows(config(**secured(old), token_file=tmp_path / "none"))
    assert (expired.mark, missing.mark) == ("bad", "bad")
    assert "orchestrator.pem has expired, on 20" in expired.detail
    assert "cannot be read" in missing.detail
    assert certificate_rows(config()) == []


async def test_a_sandbox_host_that_is_down_is_left_to_the_row_of_its_tier() -> None:
    assert await sandbox_host_rows(config()) == []
    assert await sandbox_host_rows(config(sandbox_address=NOBODY)) == []
    assert reach.SANDBOX == "sandbox"


def test_secrets_that_everybody_can_read_are_worth_knowing(tmp_path: Path) -> None:
    certs = made(tmp_path / "certs")
    token = tmp_path / "token"
    token.write_text("maia_x")
    token.chmod(0o644)
    settings = config(token_file=token, **secured(certs))
    (note,) = [row for row in certificate_rows(settings) if row.mark == "note"]
    assert note.detail == f"every user of this machine can read {token}: chmod 600 {token}"
    token.chmod(0o640)
    assert [row.mark for row in certificate_rows(settings)] == ["good", "good"]


async def test_every_server_behind_a_name_is_asked_and_known_by_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_certificates(tmp_path, hosts={"generation": ["generation.lab"]})

    real = socket.getaddrinfo

    def looked_up(host: str, port: int, *how: Any, **named: Any) -> Any:
        if host == "generation.lob":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        if host != "generation.lab":
            return real(host, port, *how, **named)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in ("127.0.0.1", "127.0.0.2")]

    async with running([naming()], ServerOptions(credentials=server_of(tmp_path))) as server:
        port = server.address.rpartition(":")[2]
        monkeypatch.setattr(socket, "getaddrinfo", looked_up)
        rows = await found(f"dns:///generation.lab:{port}", **secured(tmp_path))
        unknown = await found(f"dns:///generation.lob:{port}", **secured(tmp_path))
    where = f"generation at dns:///generation.lab:{port}"
    assert [row.mark for row in rows] == ["good", "good", "bad"]
    assert rows[0].detail.startswith(f"{where} (127.0.0.1): ")
    assert "its certificate expires on" in rows[1].detail
    assert rows[2].detail.startswith(f"{where} (127.0.0.2): not running: ")
    assert [row.mark for row in unknown] == ["bad"]
    assert "no host is called generation.lob" in unknown[0].detail

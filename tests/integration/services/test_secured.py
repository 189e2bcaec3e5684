"""Servers with certificates and tokens as programs, and the command line that reaches them."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.unit.wire.lab import client_of, made

from maia.orchestrator.clients import Connection, SubjectClient, Terms
from maia.wire.channels import open_channel
from maia.wire.tokens import add_principal

PIPE = asyncio.subprocess.PIPE


def server_flags(certs: Path, name: str) -> list[str]:
    return ["--tls-cert", f"{certs}/{name}.pem", "--tls-key", f"{certs}/{name}-key.pem", "--tls-client-ca",
            f"{certs}/ca.pem"]  # fmt: skip


def client_flags(certs: Path, name: str = "orchestrator") -> list[str]:
    return ["--tls-ca", f"{certs}/ca.pem", "--tls-cert", f"{certs}/{name}.pem", "--tls-key", f"{certs}/{name}-key.pem"]


@asynccontextmanager
async def serving(*flags: str) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "maia.services.subject", "--model", "scene-neurons", "--announce", "--end-with-stdin",
        "--log-format", "json", *flags, stdin=PIPE, stdout=PIPE, stderr=PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield json.loads(await asyncio.wait_for(process.stdout.readline(), 60))["address"], process
    finally:
        process.stdin.close()
        await process.wait()


async def maia(*arguments: str, **environment: str) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "maia.cli", *arguments, stdout=PIPE, stderr=PIPE,
        env={"PATH": "", "PYTHONPATH": ":".join(sys.path), "HOME": "/nowhere", **environment},
    )  # fmt: skip
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_the_command_line_shows_its_certificate_and_its_token(tmp_path: Path) -> None:
    certs, tokens = made(tmp_path / "certs"), tmp_path / "tokens.toml"
    add_principal(tokens, "alice", ["subject"], tmp_path / "alice")
    add_principal(tokens, "editor", ["editing"], tmp_path / "editor")
    secret = (tmp_path / "alice").read_text().strip()
    async with serving(*server_flags(certs, "subject"), "--tokens", str(tokens)) as (address, process):
        at = ["subjects", "--subject-address", address]
        code, out, err = await maia(*at, *client_flags(certs), MAIA_TOKEN=secret)
        assert code == 0, err
        assert "scene-neurons" in out
        code, out, err = await maia(*at, *client_flags(certs), "--token-file", str(tmp_path / "alice"))
        assert code == 0, err
        for arguments, said in (
            (client_flags(certs), "takes calls with one token only"),
            ([*client_flags(certs), "--token-file", str(tmp_path / "editor")], "is for editing, not for subject"),
            (client_flags(certs, "editing"), "certificate of editing may not call here"),
            (client_flags(made(tmp_path / "foreign")), "not to be trusted"),
            ([], "takes TLS only"),
            (client_flags(tmp_path), "ca.pem cannot be read"),
        ):
            code, out, err = await maia(*at, *arguments)
            assert code == 2, err
            assert said in err
            assert [line for line in err.splitlines() if not line.startswith("asking")] == [err.splitlines()[-1]]
        process.stdin.close()  # type: ignore[union-attr]  # it is a pipe
        _, logged = await process.communicate()
    lines = [json.loads(line) for line in logged.decode().splitlines() if line.startswith("{")]
    assert [line["reason"] for line in lines if line["event"] == "refused"] == [
        "TOKEN_MISSING", "TOKEN_SCOPE", "CLIENT_NOT_ALLOWED",
    ]  # fmt: skip
    assert "alice" in [line.get("client") for line in lines if line["event"] == "call"]
    assert secret not in logged.decode()
    assert "Handshake failed" in logged.decode()  # a line of gRPC itself


async def test_a_certificate_is_renewed_while_a_channel_is_open(tmp_path: Path) -> None:
    certs = made(tmp_path / "certs")
    async with (
        serving(*server_flags(certs, "subject")) as (address, _),
        open_channel(address, client_of(certs)) as channel,
    ):
        client = SubjectClient(Connection("subject", address, channel))
        assert (await client.info("scene-neurons", Terms.within(10))).name == "scene-neurons"
        shutil.rmtree(certs)
        made(certs)  # another authority as well
        async with open_channel(address, client_of(certs)) as fresh:
            await SubjectClient(Connection("subject", address, fresh)).info("scene-neurons", Terms.within(10))
        # Who was connected goes on, with what they have or with what is new.
        assert (await client.info("scene-neurons", Terms.within(10))).name == "scene-neurons"


async def test_an_expired_certificate_is_told_before_a_model_is_loaded(tmp_path: Path) -> None:
    certs = made(tmp_path / "certs", ago=9, days=2)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "maia.services.subject", "--model", "no-such-model", *server_flags(certs, "subject"),
        stdout=PIPE, stderr=PIPE,
    )  # fmt: skip
    _, errors = await process.communicate()
    since = dt.datetime.now(dt.UTC) - dt.timedelta(7)
    assert process.returncode == 2
    assert errors.decode().startswith(f"error: the certificate {certs}/subject.pem has expired, on {since:%Y-%m-%d}")
    assert errors.decode().count("\n") == 1

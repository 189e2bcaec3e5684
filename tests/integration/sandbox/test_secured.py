"""A sandbox host with certificates, as its program serves it: its orchestrators are let in, and nobody else."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.unit.wire.lab import client_of, made

from maia.sandbox import ClientCredentials, RemoteHost, Sandbox, SandboxError

PIPE = asyncio.subprocess.PIPE


@asynccontextmanager
async def served(certs: Path, *flags: str) -> AsyncIterator[str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "maia.sandbox.remote", "--announce", "--end-with-stdin", "--listen", "0.0.0.0:0",
        "--tls-cert", str(certs / "sandbox.pem"), "--tls-key", str(certs / "sandbox-key.pem"),
        "--tls-client-ca", str(certs / "ca.pem"), *flags, stdin=PIPE, stdout=PIPE, stderr=PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), 60)
        yield f"127.0.0.1:{json.loads(line)['address'].rpartition(':')[2]}"
    finally:
        process.stdin.close()
        await process.communicate()


async def test_only_the_orchestrator_opens_sessions(tmp_path: Path) -> None:
    certs = made(tmp_path / "certs", clients=("alice",))
    async with served(certs) as address:
        async with Sandbox(address=address, credentials=client_of(certs)) as box:
            assert (await box.run("print(6 * 7)")).output == "42\n"
        for other in ("subject", "alice"):
            with pytest.raises(SandboxError, match=f"certificate of {other} may not call here, only that of orchestr"):
                await enter(address, client_of(certs, other))
        with pytest.raises(SandboxError, match="takes TLS only"):
            await enter(address, None)
        with pytest.raises(SandboxError, match="not to be trusted"):
            await enter(address, client_of(made(tmp_path / "foreign")))
        with pytest.raises(SandboxError, match="cannot be read"):
            await enter(address, client_of(tmp_path / "nowhere"))


async def test_whoever_it_is_told_opens_sessions(tmp_path: Path) -> None:
    certs = made(tmp_path / "certs", clients=("alice",))
    async with served(certs, "--clients", "alice,bob") as address:
        await enter(address, client_of(certs, "alice"))
        with pytest.raises(SandboxError, match="only that of alice, bob"):
            await enter(address, client_of(certs))


async def enter(address: str, credentials: ClientCredentials | None) -> None:
    async with RemoteHost(address, credentials) as host, await host.open():
        pass

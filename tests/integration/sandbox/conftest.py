"""A sandbox host and its server in this event loop, on a port of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from maia.sandbox import Host, RemoteHost
from maia.sandbox.remote.servicer import execution_service
from maia.wire.server import running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def host(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Host]:
    async with Host(cache_dir=tmp_path_factory.mktemp("cache")) as running_host:
        yield running_host


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def address(host: Host) -> AsyncIterator[str]:
    async with running([execution_service(host, 12)]) as server:
        yield server.address


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def remote(address: str) -> AsyncIterator[RemoteHost]:
    async with RemoteHost(address) as connected:
        yield connected

"""One jail for all tests of sessions; each test opens sessions of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from maia.sandbox import Host


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def host(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Host]:
    async with Host(tier="jail", cache_dir=tmp_path_factory.mktemp("cache")) as running:
        yield running

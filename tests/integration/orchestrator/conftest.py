"""The scene world's real servers behind one port and a real jail, for all tests of a module."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from maia.orchestrator.clients import Addresses, open_servers
from maia.orchestrator.conversation import Message, Reply
from maia.orchestrator.wiring import Lab
from maia.sandbox import Host
from maia.services._runtime.metrics import Metrics
from maia.services._runtime.model_thread import ModelThread
from maia.services.description.hosting import host as host_description
from maia.services.description.settings import DescriptionSettings
from maia.services.editing.hosting import host as host_editing
from maia.services.editing.settings import EditingSettings
from maia.services.exemplars.hosting import host as host_exemplars
from maia.services.exemplars.settings import ExemplarsSettings
from maia.services.generation.hosting import host as host_generation
from maia.services.generation.settings import GenerationSettings
from maia.services.subject.hosting import host as host_subject
from maia.services.subject.settings import SubjectSettings
from maia.wire.server import running


class Nobody:
    """A backbone that is never to be asked."""

    name = "nobody"

    async def reply(self, system: str, messages: Sequence[Message]) -> Reply:
        raise AssertionError

    async def aclose(self) -> None:
        pass


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def addresses(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Addresses]:
    async with AsyncExitStack() as stack:
        thread = stack.enter_context(ModelThread("scenes"))
        entered, metrics = stack.enter_async_context, Metrics()
        services = [
            *await stack.enter_async_context(
                host_subject(SubjectSettings(model=("scene-neurons",)), thread, Metrics())
            ),
            *await entered(host_generation(GenerationSettings(), thread, metrics)),
            *await entered(host_editing(EditingSettings(), thread, metrics)),
            *await entered(host_description(DescriptionSettings(), thread, metrics)),
            *await stack.enter_async_context(
                host_exemplars(ExemplarsSettings(store=tmp_path_factory.mktemp("exemplars")), thread, metrics)
            ),
        ]
        server = await stack.enter_async_context(running(services))
        yield Addresses(*[server.address] * 5)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab(addresses: Addresses, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lab]:
    host = Host(cache_dir=tmp_path_factory.mktemp("jail"))
    async with open_servers(addresses) as servers, host:
        yield Lab(servers, host, Nobody())

"""A process with every service of ours on one port: `python -m tests.fuzz.rpcs.program FOLDER [LISTEN]`.

Its exemplars, of a few scenes, are found first. It ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from maia.sandbox import Host
from maia.sandbox.remote.servicer import execution_service
from maia.services._runtime.metrics import Metrics
from maia.services._runtime.model_thread import ModelThread
from maia.services.building.build import Build, build
from maia.services.building.passing import Wanted
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
from maia.wire.logs import configure_logs
from maia.wire.server import ServerOptions, serve

SESSIONS: Final = 8
"""Most sandbox sessions at once."""

SCENES: Final = 20


async def _serve(folder: Path, listen: str) -> None:
    build(Build("scene-neurons", "scenes", folder / "store", Wanted(), size=SCENES))
    async with AsyncExitStack() as stack:
        thread, metrics, entered = stack.enter_context(ModelThread("scenes")), Metrics(), stack.enter_async_context
        host = await entered(Host(cache_dir=folder))
        services = [
            *await entered(host_subject(SubjectSettings(model=("scene-neurons",)), thread, Metrics())),
            *await entered(host_generation(GenerationSettings(), thread, metrics)),
            *await entered(host_editing(EditingSettings(), thread, metrics)),
            *await entered(host_description(DescriptionSettings(), thread, metrics)),
            *await entered(host_exemplars(ExemplarsSettings(store=folder / "store"), thread, metrics)),
            execution_service(host, SESSIONS),
        ]
        await serve("all", services, ServerOptions(listen=listen, announce=True, end_with_stdin=True))


if __name__ == "__main__":
    configure_logs(level="info", log_format="json")
    asyncio.run(_serve(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "127.0.0.1:0"))

"""The services of a generation server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

from maia.services._runtime.images_api import key_of_environment
from maia.services._runtime.metrics import Metrics
from maia.services._runtime.model_thread import ModelThread
from maia.services.generation.model import Generator
from maia.services.generation.servicer import BATCHES, generation_service
from maia.services.generation.settings import GenerationSettings
from maia.wire.server import Hosted


@asynccontextmanager
async def host(settings: GenerationSettings, thread: ModelThread, metrics: Metrics) -> AsyncIterator[Sequence[Hosted]]:
    """Load the backend that the settings name, in the model's thread."""
    settings.check_backend()
    generator = await thread.run(partial(_load, settings))
    results, limits = settings.open_results(), settings.limits(BATCHES)
    async with generation_service(generator, thread, results, limits, metrics) as service:
        yield [service]


def _load(settings: GenerationSettings) -> Generator:
    """A backend's libraries are imported when it is chosen."""
    if settings.backend == "diffusers":
        from maia.services.generation.backends.diffusers import DiffusersGenerator

        return DiffusersGenerator(settings.diffusion)
    if settings.backend == "openai":
        from maia.services.generation.backends.openai import OpenAiGenerator

        return OpenAiGenerator(settings.api, key_of_environment(settings.api))
    from maia.services.generation.backends.scenes import SceneGenerator

    return SceneGenerator()

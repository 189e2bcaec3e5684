"""The services of an editing server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

from maia.services._runtime.images_api import key_of_environment
from maia.services._runtime.metrics import Metrics
from maia.services._runtime.model_thread import ModelThread
from maia.services.editing.model import Editor
from maia.services.editing.servicer import BATCHES, editing_service
from maia.services.editing.settings import EditingSettings
from maia.wire.server import Hosted


@asynccontextmanager
async def host(settings: EditingSettings, thread: ModelThread, metrics: Metrics) -> AsyncIterator[Sequence[Hosted]]:
    """Load the backend that the settings name, in the model's thread."""
    settings.check_backend()
    editor = await thread.run(partial(_load, settings))
    results, limits = settings.open_results(), settings.limits(BATCHES)
    async with editing_service(editor, thread, results, limits, metrics) as service:
        yield [service]


def _load(settings: EditingSettings) -> Editor:
    """A backend's libraries are imported when it is chosen."""
    if settings.backend == "diffusers":
        from maia.services.editing.backends.diffusers import DiffusersEditor

        return DiffusersEditor(settings.diffusion)
    if settings.backend == "openai":
        from maia.services.editing.backends.openai import OpenAiEditor

        return OpenAiEditor(settings.api, key_of_environment(settings.api))
    from maia.services.editing.backends.scenes import SceneEditor

    return SceneEditor()

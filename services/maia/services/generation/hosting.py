"""The services of a generation server."""

from __future__ import annotations

from collections.abc import Sequence

from maia.services._runtime.model_thread import ModelThread
from maia.services.generation.backends.scenes import SceneGenerator
from maia.services.generation.servicer import generation_service
from maia.services.generation.settings import GenerationSettings
from maia.wire.deadline import Deadline
from maia.wire.server import Hosted


async def host(settings: GenerationSettings, thread: ModelThread) -> Sequence[Hosted]:
    """Load the backend that the settings name, in the model's thread."""
    backends = {"scenes": SceneGenerator}
    backend = await thread.run(backends[settings.backend], Deadline(), doing="loading")
    return [generation_service(backend, thread)]

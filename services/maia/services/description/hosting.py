"""The services of a description server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from maia.services._runtime.metrics import Metrics
from maia.services._runtime.model_thread import ModelThread
from maia.services.description.backends.scenes import SceneDescriber
from maia.services.description.servicer import description_service
from maia.services.description.settings import DescriptionSettings
from maia.wire.deadline import Deadline
from maia.wire.server import Hosted


@asynccontextmanager
async def host(settings: DescriptionSettings, thread: ModelThread, metrics: Metrics) -> AsyncIterator[Sequence[Hosted]]:  # noqa: ARG001
    """Load the backend that the settings name, in the model's thread."""
    backends = {"scenes": SceneDescriber}
    backend = await thread.run(backends[settings.backend], Deadline(), doing="loading")
    yield [description_service(backend, thread)]

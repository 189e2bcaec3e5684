"""The services of an exemplars server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from maia.services._runtime.metrics import Metrics
from maia.services._runtime.model_thread import ModelThread
from maia.services.exemplars.servicer import exemplars_service
from maia.services.exemplars.settings import ExemplarsSettings
from maia.services.exemplars.store import ExemplarStore
from maia.wire.server import Hosted


@asynccontextmanager
async def host(settings: ExemplarsSettings, thread: ModelThread, metrics: Metrics) -> AsyncIterator[Sequence[Hosted]]:  # noqa: ARG001
    """Serve the store that the settings name; it may be empty, and filled later."""
    yield [exemplars_service(ExemplarStore(settings.store))]

"""The services of an exemplars server."""

from __future__ import annotations

from collections.abc import Sequence

from maia.services._runtime.model_thread import ModelThread
from maia.services.exemplars.servicer import exemplars_service
from maia.services.exemplars.settings import ExemplarsSettings
from maia.services.exemplars.store import ExemplarStore
from maia.wire.server import Hosted


async def host(settings: ExemplarsSettings, thread: ModelThread) -> Sequence[Hosted]:
    """Serve the store that the settings name; it may be empty, and filled later."""
    return [exemplars_service(ExemplarStore(settings.store), thread)]

"""The services of a editing server."""

from __future__ import annotations

from collections.abc import Sequence

from maia.services._runtime.model_thread import ModelThread
from maia.services.editing.backends.scenes import SceneEditor
from maia.services.editing.servicer import editing_service
from maia.services.editing.settings import EditingSettings
from maia.wire.deadline import Deadline
from maia.wire.server import Hosted


async def host(settings: EditingSettings, thread: ModelThread) -> Sequence[Hosted]:
    """Load the backend that the settings name, in the model's thread."""
    backends = {"scenes": SceneEditor}
    backend = await thread.run(backends[settings.backend], Deadline(), doing="loading")
    return [editing_service(backend, thread)]

"""The services of a description server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

from maia.services._runtime.metrics import Metrics
from maia.services._runtime.model_thread import ModelThread
from maia.services._runtime.vendor import key_of_environment
from maia.services.description.model import Describer
from maia.services.description.servicer import BATCHES, description_service
from maia.services.description.settings import DescriptionSettings
from maia.wire.server import Hosted


@asynccontextmanager
async def host(settings: DescriptionSettings, thread: ModelThread, metrics: Metrics) -> AsyncIterator[Sequence[Hosted]]:
    """Load the backend that the settings name, in the model's thread."""
    settings.check_backend()
    describer = await thread.run(partial(_load, settings))
    async with description_service(describer, thread, settings.limits(BATCHES), metrics) as service:
        yield [service]


def _load(settings: DescriptionSettings) -> Describer:
    """A backend's libraries are imported when it is chosen."""
    if settings.backend == "transformers":
        from maia.services.description.backends.transformers.describer import TransformersDescriber

        return TransformersDescriber(settings.transformers)
    if settings.backend in {"openai", "anthropic"}:
        return _vendor(settings)
    from maia.services.description.backends.scenes import SceneDescriber

    return SceneDescriber()


def _vendor(settings: DescriptionSettings) -> Describer:
    from maia.services.description.backends.vendors.describer import VendorDescriber, key_variable
    from maia.services.description.backends.vendors.dialect import Dialect

    dialect: Dialect
    if settings.backend == "anthropic":
        from maia.services.description.backends.vendors.anthropic import Messages

        dialect = Messages(settings.vendor)
    else:
        from maia.services.description.backends.vendors.openai import ChatCompletions

        dialect = ChatCompletions(settings.vendor)
    key = key_of_environment(key_variable(settings.vendor, dialect))
    return VendorDescriber(settings.vendor, key, dialect)

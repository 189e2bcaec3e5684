"""Which subjects there are, and the services of a server that hosts some of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Final

from maia.services._runtime.jobs import BatchLimits
from maia.services._runtime.metrics import Metrics
from maia.services._runtime.model_thread import ModelThread
from maia.services._runtime.queue import BatchQueue
from maia.services.subject.ablating import ablation_job
from maia.services.subject.backends.networks import catalogue
from maia.services.subject.backends.networks.options import NetworkOptions
from maia.services.subject.backends.photograph_neurons.backend import PhotographNeurons
from maia.services.subject.backends.photograph_neurons.options import NAME as SYNTHETIC_NEURONS
from maia.services.subject.backends.photograph_neurons.options import PhotographOptions
from maia.services.subject.backends.scene_neurons.backend import SceneNeurons
from maia.services.subject.backends.scenes_cnn.backend import ScenesCnn
from maia.services.subject.cache import AnswerCache
from maia.services.subject.looking import Looking, look_job, revision
from maia.services.subject.model import Subject
from maia.services.subject.servicer import subject_service
from maia.services.subject.settings import SubjectSettings
from maia.services.subject.subjects import Subjects
from maia.wire.errors import InvalidRequestError, NotFoundError
from maia.wire.limits import MAX_BATCH_PIXELS
from maia.wire.server import Hosted

SUBJECTS: Mapping[str, Callable[[], Subject]] = MappingProxyType(
    {"scene-neurons": SceneNeurons.load, "scenes-cnn": ScenesCnn.load}
)
"""Loaders of the embedded ones. A backend imports its heavy libraries when loaded: one must not cost another's."""

_MEGABYTE: Final = 1_000_000


@asynccontextmanager
async def host(settings: SubjectSettings, thread: ModelThread, metrics: Metrics) -> AsyncIterator[Sequence[Hosted]]:
    """Load the subjects that the settings name, in the model's thread, and serve them within the context.

    Raises:
        NotFoundError: SUBJECT_UNKNOWN, metadata "valid".
        InvalidRequestError: SETTING_INVALID: weights or directions for other than one network.
        PreconditionError: What loading raises.
    """
    names = [*settings.model, *settings.on_demand]
    for name in names:
        _check(name)
    networks = [name for name in names if name not in {*SUBJECTS, SYNTHETIC_NEURONS}]
    if (settings.weights is not None or settings.directions) and len(networks) != 1:
        raise InvalidRequestError(
            f"--weights and --directions are for one network, and this server would host {len(networks)}; "
            "start a server for each",
            reason="SETTING_INVALID",
        )
    cache = AnswerCache(settings.cache_mb * _MEGABYTE)
    subjects = Subjects(
        lambda name: load_subject(name, settings.network, settings.photographs),
        names,
        thread,
        max_bytes=int(settings.memory_gb * 1e9),
        on_drop=lambda subject: cache.drop(revision(subject)),
    )
    limits = BatchLimits(
        most=1 if settings.deterministic else settings.batch,
        most_weight=MAX_BATCH_PIXELS,
        delay_s=settings.batch_delay_ms / 1000,
        waiting=settings.queue,
        buckets=() if settings.deterministic else settings.batch_buckets,
    )
    async with (
        BatchQueue(look_job(cache, metrics), thread, limits, metrics) as queue,
        BatchQueue(ablation_job(), thread, limits, metrics) as ablations,
    ):
        for name in settings.model:
            await subjects.get(name)
        yield [subject_service(subjects, Looking(queue, cache, metrics), ablations)]


def load_subject(name: str, options: NetworkOptions, photographs: PhotographOptions | None = None) -> Subject:
    """Load a subject by name.

    Args:
        name: What `--model` takes.
        options: How a network is loaded.
        photographs: Of synthetic_neurons; the defaults if None.

    Raises:
        NotFoundError: SUBJECT_UNKNOWN, metadata "valid".
        PreconditionError: What loading raises.
    """
    _check(name)
    if name == SYNTHETIC_NEURONS:
        return PhotographNeurons.load(photographs or PhotographOptions(), options)
    return SUBJECTS[name]() if name in SUBJECTS else catalogue.load(name, options)


def _check(name: str) -> None:
    if name in {*SUBJECTS, SYNTHETIC_NEURONS}:
        return
    try:
        catalogue.parse(name)
    except NotFoundError as error:
        valid = ", ".join((*SUBJECTS, SYNTHETIC_NEURONS, *catalogue.SHORT_NAMES, *catalogue.FORMS))
        raise NotFoundError(
            f"no subject {name!r:.100}; there are {valid}", reason="SUBJECT_UNKNOWN", metadata={"valid": valid}
        ) from error

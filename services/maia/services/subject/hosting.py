"""Which subjects there are, and the services of a server that hosts some of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from maia.services._runtime.model_thread import ModelThread
from maia.services.subject.backends.scene_neurons.backend import SceneNeurons
from maia.services.subject.backends.scenes_cnn.backend import ScenesCnn
from maia.services.subject.model import Subject
from maia.services.subject.servicer import subject_service
from maia.services.subject.settings import SubjectSettings
from maia.wire.deadline import Deadline
from maia.wire.errors import NotFoundError
from maia.wire.server import Hosted

SUBJECTS: Mapping[str, Callable[[], Subject]] = MappingProxyType(
    {"scene-neurons": SceneNeurons.load, "scenes-cnn": ScenesCnn.load}
)
"""Loaders by name. A backend imports its heavy libraries when it is loaded: one subject must not cost another's."""


async def host(settings: SubjectSettings, thread: ModelThread) -> Sequence[Hosted]:
    """Load the subjects that the settings name, in the model's thread.

    Raises:
        NotFoundError: SUBJECT_UNKNOWN, metadata "valid".
    """
    for name in settings.model:
        if name not in SUBJECTS:
            valid = ", ".join(SUBJECTS)
            raise NotFoundError(
                f"no subject {name!r:.100}; there are {valid}", reason="SUBJECT_UNKNOWN", metadata={"valid": valid}
            )
    subjects = {name: await thread.run(SUBJECTS[name], Deadline(), doing="loading") for name in settings.model}
    return [subject_service(subjects, thread)]

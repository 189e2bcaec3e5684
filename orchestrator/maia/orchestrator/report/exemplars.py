"""Which images of a session are the unit's exemplars: those that `tools.dataset_exemplars` answered with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from maia.orchestrator.events import Event, ToolCalled, ToolReturned
from maia.orchestrator.report.gallery import Gallery, images_in

TOOL: Final = "tools.dataset_exemplars"


def exemplar_lists(events: Sequence[Event], gallery: Gallery) -> tuple[tuple[str, ...], ...]:
    """Return the images of each call's answer, in its order; masked views, since that is what the tool answers with."""
    calls = {event.call for event in events if isinstance(event, ToolCalled) and event.tool == TOOL}
    answers = (event.result for event in events if isinstance(event, ToolReturned) and event.call in calls)
    lists = (dict.fromkeys(image for image in images_in(answer) if image in gallery.images) for answer in answers)
    return tuple(tuple(images) for images in lists if images)

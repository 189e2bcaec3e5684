"""The pictures of one unit, each embedded once however often it is shown.

A picture is a CSS class with its bytes as background (`.p3`), so that the exemplar strip, a round and the enlarged
view share one copy. A masked view is its original with a mask laid over it (`.m7`, one bit a pixel, drawn from the
journaled activation map by the function that also made what the agent saw), so that a reader can take the mask off.
"""

from __future__ import annotations

import base64
import dataclasses
import io
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from PIL import Image

from maia.orchestrator.errors import JournalError
from maia.orchestrator.events import ImageAdded, PicturePart
from maia.orchestrator.journal import JournalReader, picture_path
from maia.orchestrator.report.visible import one_line, shorten
from maia.wire.limits import MAX_MAP_SIDE
from maia.wire.maps import Frame, masked_pixels

_MASK_SIDE: Final = 256
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_MEDIA_TYPES: Final = frozenset({"image/png", "image/jpeg", "image/webp"})
_TITLES: Final = ("prompt", "instruction", "edit", "title", "name")  # what names a picture best, first that is there
_LARGEST: Final = 1e30  # an activation beyond it is no number to draw


@dataclass(frozen=True, slots=True)
class Figure:
    """One picture as the page shows it.

    Attributes:
        zoom: Names its enlarged view.
        picture: CSS class of the picture; empty when there is none to show.
        mask: CSS class of the mask over it; empty for a whole picture.
        title: What it shows, in the words that it was asked for with.
        details: Everything known of how it came to be.
        activation: As measured on it; None where it was not.
        file: Its file, relative to the unit's folder.
        missing: Why there is no picture to show.
    """

    zoom: str
    picture: str
    mask: str
    title: str
    details: tuple[tuple[str, str], ...]
    activation: float | None
    file: str
    missing: str = ""


class Gallery:
    """All pictures that a journal names.

    Args:
        reader: The unit's journal.
    """

    def __init__(self, reader: JournalReader) -> None:
        self._reader = reader
        self.images: dict[str, ImageAdded] = {}
        self.views: dict[str, list[str]] = {}
        self._figures: dict[str, Figure] = {}
        self._pictures: dict[str, tuple[str, str, bytes]] = {}
        self._masks: dict[bytes, str] = {}
        for event in reader.events:
            if isinstance(event, ImageAdded):
                self._add(event)

    @property
    def figures(self) -> tuple[Figure, ...]:
        """Every figure asked for so far, once each, in order."""
        return tuple(self._figures.values())

    def figure(self, image_id: str) -> Figure:
        """Return the figure of an image of the session's table."""
        if image_id not in self._figures:
            self._figures[image_id] = self._make(image_id)
        return self._figures[image_id]

    def figure_of(self, part: PicturePart) -> Figure:
        """Return the figure of a picture that was displayed; one that no image stands for is shown as it is."""
        if part.image_id in self.images:
            return self.figure(part.image_id)
        key = f"sha256 {part.sha256}"
        if key not in self._figures:
            self._figures[key] = self._loaded(
                Figure(self._zoom(), "", "", "displayed picture", (), None, ""), part.sha256, part.media_type
            )
        return self._figures[key]

    def activation(self, image_id: str) -> float | None:
        """Return a view's activation, or for an original the last that was measured on it."""
        image = self.images[image_id]
        for candidate in [image_id] if image.view_of else reversed(self.views.get(image_id, [])):
            value = self.images[candidate].view.get("activation")
            if isinstance(value, int | float) and math.isfinite(value) and abs(value) < _LARGEST:
                return float(value)
        return None

    def css(self) -> str:
        """Return the rules of all pictures and masks that figures use."""
        rules = []
        masks = ((name, "image/png", mask) for mask, name in self._masks.items())
        for name, media_type, data in (*self._pictures.values(), *masks):
            encoded = base64.b64encode(data).decode("ascii")
            rules.append(f".{name}{{background-image:url(data:{media_type};base64,{encoded})}}")
        return "\n".join(rules)

    def _add(self, event: ImageAdded) -> None:
        known = self.images.get(event.image_id)
        if known:  # a view that was composed: the later event carries the picture, the first one may say more
            event = dataclasses.replace(event, source=event.source or known.source, view=event.view or known.view)
        elif event.view_of:
            self.views.setdefault(event.view_of, []).append(event.image_id)
        self.images[event.image_id] = event

    def _zoom(self) -> str:
        return f"z{len(self._figures) + 1}"

    def _make(self, image_id: str) -> Figure:
        image = self.images[image_id]
        original = self.images.get(image.view_of, image)
        source = original.source or image.source
        figure = Figure(
            zoom=self._zoom(),
            picture="",
            mask="",
            title=_title(source, image_id),
            details=(*_details(source), *_details(image.view, leave_out=("map", "frame", "activation"))),
            activation=self.activation(image_id),
            file="",
        )
        mask = mask_png(image.view, original.width, original.height) if image.view_of else None
        if mask is not None and original.sha256:
            figure = dataclasses.replace(figure, mask=self._masks.setdefault(mask, f"m{len(self._masks) + 1}"))
            return self._loaded(figure, original.sha256, original.media_type)
        return self._loaded(figure, image.sha256, image.media_type)

    def _loaded(self, figure: Figure, sha256: str, media_type: str) -> Figure:
        """Return the figure with its picture, or with the reason why there is none."""
        if not sha256:
            return dataclasses.replace(figure, missing="never drawn", mask="")
        if not _SHA256.fullmatch(sha256) or media_type not in _MEDIA_TYPES:
            return dataclasses.replace(figure, missing=f"{media_type or 'no type'}, named {sha256[:80]!r}", mask="")
        path = picture_path(self._reader.folder, sha256, media_type)
        if sha256 not in self._pictures:
            try:
                data = self._reader.picture(sha256, media_type)
            except JournalError as error:
                return dataclasses.replace(figure, missing=error.message, mask="")
            self._pictures[sha256] = (f"p{len(self._pictures) + 1}", media_type, data)
        return dataclasses.replace(figure, picture=self._pictures[sha256][0], file=f"{path.parent.name}/{path.name}")


def mask_png(view: Mapping[str, Any], width: int, height: int) -> bytes | None:
    """Draw what lies outside of a view's mask.

    Args:
        view: As ImageAdded carries it.
        width: Of the original, in pixels.
        height: Of the original, in pixels.

    Returns:
        A PNG of one bit a pixel, black where the view is dark and transparent where it is not, at most 256 pixels
        wide and high; None when the view has no usable map.
    """
    try:
        values, frame = view["map"], [float(side) for side in view["frame"]]
        shape = (int(values["height"]), int(values["width"]))
        if not 1 <= min(shape) <= max(shape) <= MAX_MAP_SIDE or len(frame) != 4 or min(width, height) < 1:
            return None
        cells = np.frombuffer(base64.b64decode(values["values"], validate=True), "<f2").reshape(shape)
        scale = min(1.0, _MASK_SIDE / max(width, height))
        size = (max(1, round(height * scale)), max(1, round(width * scale)))
        inside = masked_pixels(size, cells, Frame(*(side * scale for side in frame)), float(view["threshold"]))
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    file = io.BytesIO()
    # The transparent grey of a one-bit PNG is 1, white: the inside.
    Image.fromarray(inside).save(file, "PNG", transparency=1)
    return file.getvalue()


def images_in(value: object) -> Iterable[str]:
    """Yield the ids of all images in a call's arguments or result, in order."""
    match value:
        case {"image": str(image_id)}:
            yield image_id
        case Mapping():
            for item in value.values():
                yield from images_in(item)
        case list() | tuple():
            for item in value:
                yield from images_in(item)


def _title(source: Mapping[str, Any], image_id: str) -> str:
    for key in _TITLES:
        if isinstance(source.get(key), str) and source[key].strip():
            return one_line(source[key], 300)
    tool = str(source.get("tool", "")).rsplit(".", 1)[-1]
    if tool == "dataset_exemplars":
        return f"exemplar {source.get('rank', '')}".strip()
    return one_line(tool.replace("_", " ") or image_id, 300)


def _details(values: Mapping[str, Any], leave_out: tuple[str, ...] = ()) -> tuple[tuple[str, str], ...]:
    return tuple(
        (key.replace("_", " "), shorten(value if isinstance(value, str) else one_line(repr(value), 400), 1000))
        for key, value in values.items()
        if key not in leave_out and value not in ("", None)
    )

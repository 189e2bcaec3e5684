"""What became of a unit, for people who write Python: typed, and shown in a notebook with its pictures."""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final

from PIL import Image

from maia.orchestrator.answers import Answer, answer_from_json
from maia.orchestrator.errors import JournalError
from maia.orchestrator.events import UnitName
from maia.orchestrator.journal import FILE_NAME, JournalReader
from maia.orchestrator.report.exemplars import exemplar_lists
from maia.orchestrator.report.gallery import Gallery
from maia.orchestrator.report.results import Status, UnitResult
from maia.orchestrator.report.unit import PAGE
from maia.orchestrator.report.visible import visible
from maia.wire.pictures import decode

_SHOWN: Final = 8
"""Exemplars in a notebook's cell."""


@dataclass(frozen=True, slots=True)
class Exemplar:
    """A dataset image that drives the unit, as the agent was given it.

    Attributes:
        activation: Of the unit; not a number where the journal has none.
        picture: RGB; the whole image, without any darkening.
    """

    activation: float
    picture: Image.Image = field(repr=False)


@dataclass(frozen=True)
class Finding:
    """What an investigation of one unit came to.

    Attributes:
        result: All that its journal says of it.
    """

    result: UnitResult

    @property
    def unit(self) -> UnitName:
        """Which unit."""
        return self.result.unit

    @property
    def status(self) -> Status:
        """How the run ended; only "concluded" is a finding."""
        return self.result.status

    @property
    def reason(self) -> str:
        """Why there is no answer; empty where there is one."""
        return self.result.reason

    @property
    def labels(self) -> tuple[str, ...]:
        """The answer's short phrases."""
        return self.result.labels

    @property
    def description(self) -> str:
        """The answer's prose."""
        return self.result.description

    @property
    def answer(self) -> Answer | None:
        """The answer in the form that the task ends with; None without one.

        Raises:
            ValueError: It is of a form that this version does not know.
        """
        return answer_from_json(self.result.answer) if self.result.answer else None

    @property
    def page(self) -> Path:
        """Where the report of the investigation is, if it had begun."""
        return self.result.folder / PAGE

    @property
    def usage(self) -> Mapping[str, int]:
        """Tokens of all replies by kind."""
        return self.result.usage

    @cached_property
    def exemplars(self) -> tuple[Exemplar, ...]:
        """The exemplars that the agent has fetched, highest activation first; empty where it fetched none.

        Raises:
            JournalError: A picture is missing or altered.
        """
        folder = self.result.folder
        if not (folder / FILE_NAME).exists():
            return ()
        reader = JournalReader(folder)
        gallery = Gallery(reader)
        lists = exemplar_lists(reader.events, gallery)
        return tuple(_exemplar(folder, gallery, image_id) for image_id in (lists[0] if lists else ()))

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        title = html.escape(visible(str(self.unit)))
        if self.status != "concluded":
            said = html.escape(visible(f"{self.status.replace('_', ' ')}: {self.reason}"))
            return f"<div><b>{title}</b><p>{said}</p></div>"
        title += html.escape(visible(": " + "; ".join(self.labels))) if self.labels else ""
        prose = html.escape(visible(self.description)).replace("\n", "<br>")
        try:
            strip = "".join(map(_figure, self.exemplars[:_SHOWN]))
        except JournalError as error:
            strip = f"<i>{html.escape(visible(error.message))}</i>"  # the finding stands without its pictures
        return f'<div><b>{title}</b><p style="max-width:60em">{prose}</p><div>{strip}</div></div>'


def _exemplar(folder: Path, gallery: Gallery, image_id: str) -> Exemplar:
    """Return one of them, whose journal may be anyone's.

    Raises:
        JournalError: Its picture is missing or altered.
    """
    source = gallery.images[image_id].view_of
    figure = gallery.figure(source if source in gallery.images else image_id)
    if figure.missing:
        raise JournalError(f"an exemplar's picture cannot be shown: {figure.missing}")
    activation = gallery.activation(image_id)
    picture = Image.fromarray(decode((folder / figure.file).read_bytes()))
    return Exemplar(math.nan if activation is None else activation, picture)


def _figure(exemplar: Exemplar) -> str:
    file = io.BytesIO()
    small = exemplar.picture.copy()
    small.thumbnail((112, 112))
    small.save(file, "PNG")
    data = base64.b64encode(file.getvalue()).decode("ascii")
    return (
        '<figure style="display:inline-block;margin:2px;text-align:center">'
        f'<img src="data:image/png;base64,{data}" width="112" alt="exemplar">'
        f"<figcaption>{exemplar.activation:.2f}</figcaption></figure>"
    )

"""Writes the files that are derived from one unit's journal."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter

from maia.orchestrator.errors import JournalError
from maia.orchestrator.events import BackboneReply, Event, PicturePart, TextPart, UnitName, UserMessage
from maia.orchestrator.journal import FILE_NAME, JournalReader, picture_path
from maia.orchestrator.report.files import write_whole
from maia.orchestrator.report.gallery import Gallery
from maia.orchestrator.report.page import unit_page
from maia.orchestrator.report.results import Canonical, UnitResult, result_of, run_started

PAGE: Final = "experiment.html"
HISTORY: Final = "history.json"
RESULT: Final = "result.json"
FORMAT: Final = 2
"""Raised whenever the derived files change, so that `rebuild` writes them anew."""

_FINDING: Final = ("description.txt", "label.txt")
_result_adapter: TypeAdapter[UnitResult] = TypeAdapter(UnitResult)


def write_unit(folder: Path, truth: str | None, canonical: Canonical | None = None) -> UnitResult:
    """Write experiment.html, history.json and result.json, and of a concluded run description.txt and label.txt.

    Each file appears whole. A run without a conclusion has no description.txt and label.txt, and an answer without
    labels no label.txt: what stands there is always a finding.

    Args:
        folder: The unit's folder with its journal.
        truth: What the unit is known to be; None where nobody knows. To be read after the run only.
        canonical: How labels are compared with the truth; `plain_label` where it is None or answers None.

    Raises:
        JournalError: The journal is missing or damaged, or the disk refuses.
    """
    return derive(folder, lambda _: truth, canonical)


def derive(folder: Path, truth_of: Callable[[UnitName], str | None], canonical: Canonical | None = None) -> UnitResult:
    """Do what `write_unit` does, with the truth looked up by the name that the journal gives to the unit."""
    digest = _digest(folder)  # before the reading: what is appended meanwhile makes the next rebuild write again
    reader = JournalReader(folder)
    run = run_started(reader)
    gallery = Gallery(reader)
    result = result_of(reader, gallery, truth_of(run.unit), canonical)
    page = unit_page(reader, gallery, result)
    write_whole(folder / PAGE, page)
    write_whole(folder / HISTORY, _json(history_of(run.system_prompt, reader.events)))
    for name, lines in zip(_FINDING, ((result.description,), result.labels), strict=True):
        if result.status == "concluded" and lines:
            write_whole(folder / name, "".join(f"{line}\n" for line in lines))
        else:
            (folder / name).unlink(missing_ok=True)
    stored = _result_adapter.dump_python(result, mode="json", exclude={"folder"})
    # Last: it vouches for the others.
    write_whole(folder / RESULT, _json({"format": FORMAT, **stored, "journal_sha256": digest}))
    return result


def unchanged(folder: Path) -> UnitResult | None:
    """Return the stored result if it and the page were derived from this very journal, else None."""
    try:
        stored: dict[str, Any] = json.loads((folder / RESULT).read_bytes())
        if stored.pop("format") != FORMAT or stored.pop("journal_sha256") != _digest(folder):
            return None
        result = _result_adapter.validate_python({**stored, "folder": folder})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, JournalError):
        return None  # absent, or of another time: it will be written anew
    return result if (folder / PAGE).is_file() and (folder / HISTORY).is_file() else None


def history_of(system_prompt: str, events: tuple[Event, ...]) -> list[Mapping[str, Any]]:
    """Return the conversation as a list of {"role", "content"}, the system prompt first.

    Content is a list of {"type": "text", "text"} and {"type": "image", "path", "media_type"}; the path is relative
    to the unit's folder.
    """
    history: list[Mapping[str, Any]] = [{"role": "system", "content": [{"type": "text", "text": system_prompt}]}]
    for event in events:
        if isinstance(event, UserMessage):
            history.append({"role": "user", "content": [_content(part) for part in event.parts]})
        elif isinstance(event, BackboneReply):
            history.append({"role": "assistant", "content": [{"type": "text", "text": event.text}]})
    return history


def _content(part: TextPart | PicturePart) -> Mapping[str, str]:
    if isinstance(part, TextPart):
        return {"type": "text", "text": part.text}
    try:
        path = picture_path(Path(), part.sha256, part.media_type)
    except KeyError as error:
        raise JournalError(f"the journal names a picture of type {part.media_type!r}, which no run writes") from error
    return {"type": "image", "path": path.as_posix(), "media_type": part.media_type}


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1) + "\n"


def _digest(folder: Path) -> str:
    path = folder / FILE_NAME
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise JournalError(f"there is no readable journal at {path}: {error.strerror}") from error

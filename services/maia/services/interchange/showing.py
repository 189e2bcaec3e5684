"""A contact sheet of a unit of the store, as a file."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from maia.services.exemplars.store import ExemplarStore
from maia.services.interchange.failures import setting_invalid, shown, writing
from maia.services.interchange.names import folder_name
from maia.services.interchange.sheets.page import sheet_html
from maia.services.interchange.sheets.picture import sheet_png
from maia.services.interchange.sheets.sheet import sheet_of

__all__ = ["SheetRequest", "show"]

_KINDS: Final = (".png", ".html")
_UNWIELDY: Final = re.compile(r"[:\s]+")


@dataclass(frozen=True, slots=True)
class SheetRequest:
    """Which unit to show.

    Attributes:
        model: Its subject.
        layer: Its layer.
        index: Its number in the layer.
        dataset: Of the exemplars; "" for that of the newest set.
    """

    model: str
    layer: str
    index: int
    dataset: str = ""


def show(store: ExemplarStore, request: SheetRequest, out: Path | None = None) -> Path:
    """Write a contact sheet.

    Args:
        store: Where the exemplars are.
        request: Of which unit.
        out: A .png or .html file, which is replaced; None for `<model>-<layer>-<index>.png` in the current folder.

    Returns:
        The file.

    Raises:
        InvalidRequestError: SETTING_INVALID: another kind of file.
        NotFoundError: EXEMPLARS_MISSING.
        OutOfRangeError: UNIT_OUT_OF_RANGE.
        PreconditionError: FOLDER_UNWRITABLE or STORE_FORMAT.
        InternalError: EXEMPLARS_DAMAGED.
    """
    file = out or Path(_file_name(request))
    kind = file.suffix.lower()
    if kind not in _KINDS:
        raise setting_invalid(f"{shown(file)} is neither a .png nor a .html; name one of those")
    layer = store.find(request.model, request.layer, dataset=request.dataset)
    sheet = sheet_of(layer, request.index)
    data = sheet_png(sheet) if kind == ".png" else sheet_html(sheet).encode()
    with writing(file.parent):
        part = file.with_name(f".{file.name}.{os.getpid()}.part")
        try:
            part.write_bytes(data)
            part.replace(file)
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)
    return file


def _file_name(request: SheetRequest) -> str:
    name = f"{folder_name(request.model)}-{folder_name(request.layer)}-{request.index}.png"
    return _UNWIELDY.sub("-", name)

"""A contact sheet as one HTML file that needs nothing else and asks for nothing else."""

from __future__ import annotations

import base64
import hashlib
import io
from functools import cache
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from maia.services.interchange.sheets.sheet import Sheet, number
from maia.wire.pictures import Rgb

__all__ = ["sheet_html"]

_QUALITY: Final = 90


def sheet_html(sheet: Sheet) -> str:
    """Return the page. Every value in the template is escaped; the policy allows its own style and inline pictures."""
    style = _style()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return _environment().get_template("sheet.html.j2").render(sheet=sheet, style=style, policy=policy)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("maia.services.interchange.sheets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(inline=_inline, number=number)
    return environment


@cache
def _style() -> Markup:
    loader = _environment().loader
    assert loader is not None
    return Markup(loader.get_source(_environment(), "sheet.css")[0])  # noqa: S704  a file of this package


def _inline(rgb: Rgb) -> str:
    buffer = io.BytesIO()
    Image.fromarray(rgb, "RGB").save(buffer, "WEBP", quality=_QUALITY)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"

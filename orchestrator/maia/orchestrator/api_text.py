"""The API text of the system prompt, rendered from the tools themselves."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from itertools import groupby

from maia.orchestrator.toolbox.tools import CONSTANTS, TOOLS, ToolFunction, tool_specs
from maia.sandbox import ToolSpec

_IMAGES = """\
The tools hand out and accept images, called `Image` in the signatures below. An image has
  .size       (width, height) in pixels
  .source     the original of a masked view; any other image is its own source
  .pil()      a PIL image, for your own computations
  .array()    a uint8 array of shape (height, width, 3)
  .base64()   a PNG file in base64
PIL images, uint8 arrays and matplotlib figures that you make yourself are accepted wherever an image is. A single item
is accepted where a list is expected. A call that cannot be done raises ToolError, which says why."""

_BOUND = """\
These names are bound from the start: `system`, `tools`, `ToolError`, `np` (NumPy), `Image` (PIL's module), `math`, \
`random`, `statistics`."""

_TITLES = {"system": "system: the neuron", "tools": "tools: what you experiment with"}


def api_text(tools: Mapping[str, ToolFunction] = TOOLS) -> str:
    """Return what an agent reads about the tools; the same bytes for every unit and run."""
    sections = [_IMAGES, _BOUND]
    for holder, specs in groupby(tool_specs(tools), key=lambda spec: spec.name.partition(".")[0]):
        entries = [f"{name}: {text}" for name, text in CONSTANTS.items() if name.startswith(f"{holder}.")]
        blocks = ["\n".join(entries)] if entries else []
        blocks += [_entry(spec) for spec in specs]
        sections.append("\n\n".join([f"## {_TITLES[holder]}", *blocks]))
    return "\n\n".join(sections)


def _entry(spec: ToolSpec) -> str:
    return f"{spec.name}{spec.signature}\n{textwrap.indent(spec.doc, '    ')}"

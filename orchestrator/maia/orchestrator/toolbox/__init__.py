"""The MAIA tools: what an agent's code may call, and what it reads about it.

`tools` holds the functions; dispatch, the guest's stubs and the API text of the system prompt all come from there.
"""

from maia.orchestrator.toolbox.arguments import image_list, texts
from maia.orchestrator.toolbox.study import Call, Study, run_tag, seed_of
from maia.orchestrator.toolbox.tools import TOOLS, Toolbox, ToolFunction, constants, tool_specs, with_own

__all__ = [
    "TOOLS",
    "Call",
    "Study",
    "ToolFunction",
    "Toolbox",
    "constants",
    "image_list",
    "run_tag",
    "seed_of",
    "texts",
    "tool_specs",
    "with_own",
]

"""The MAIA tools: what an agent's code may call, and what it reads about it.

`tools` holds the functions; dispatch, the guest's stubs and the API text of the system prompt all come from there.
"""

from maia.orchestrator.toolbox.call import Call
from maia.orchestrator.toolbox.describer import Describer, ServerDescriber
from maia.orchestrator.toolbox.study import Study, run_tag, seed_of
from maia.orchestrator.toolbox.tools import TOOLS, Toolbox, constants, tool_specs

__all__ = [
    "TOOLS",
    "Call",
    "Describer",
    "ServerDescriber",
    "Study",
    "Toolbox",
    "constants",
    "run_tag",
    "seed_of",
    "tool_specs",
]

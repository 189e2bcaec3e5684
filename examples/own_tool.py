"""A tool of your own, for the agent's code: typed function in, stub, documentation and dispatch out.

maia up                                                # the servers, in another terminal
ANTHROPIC_API_KEY=… python examples/own_tool.py claude-…
python examples/own_tool.py compatible:qwen3-vl http://localhost:8000/v1

The agent reads of the tool in its system prompt, and its code in the sandbox calls `tools.mean_colour(images)`; the
function runs here, in this process. The scripted agent is offered it too, but follows its plan and calls none but ours.
"""

from __future__ import annotations

import sys

import numpy as np

from maia.orchestrator import Finding, Toolbox, image_list, investigate_sync
from maia.sandbox import ImageRef


async def mean_colour(  # noqa: D417  the docstring is for the agent, who passes no toolbox
    toolbox: Toolbox, images: list[ImageRef]
) -> list[tuple[float, float, float]]:
    """Measure the mean colour of images.

    Args:
        images: Images of any kind.

    Returns:
        (red, green, blue) of each image, from 0 to 255.

    Example:
        colours = tools.mean_colour([view.source for activation, view in tools.dataset_exemplars(system)])
    """
    # What the agent's code passed, checked: a fault of it becomes an error message that the agent reads.
    refs = await image_list(images, "images", toolbox.study.images)
    colours = []
    for ref in refs:
        pixels = await toolbox.study.images.pixels(ref.id)
        red, green, blue = np.frombuffer(pixels.data, np.uint8).reshape(-1, 3).mean(axis=0).round(1).tolist()
        colours.append((red, green, blue))
    return colours


def main(agent: str, base_url: str | None = None) -> Finding:
    """Let an agent that has the tool explain a unit, and return what it found."""
    tools = {"tools.mean_colour": mean_colour}
    (finding,) = investigate_sync("scene-neurons", {"mono": [23]}, agent=agent, base_url=base_url, tools=tools)
    return finding


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 3:
        sys.exit(__doc__)
    found = main(*sys.argv[1:])
    print(f"{found.unit}: {'; '.join(found.labels) or found.status}", found.description or found.reason, sep="\n")
    print(found.page)

"""What puts pictures into words for `tools.describe_images` and `tools.summarize_images`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from maia.orchestrator.clients import DescriptionClient, Region
from maia.orchestrator.toolbox.call import Call


class Describer(Protocol):
    """The description server, or a backbone."""

    async def describe(self, regions: Sequence[Region], call: Call) -> list[str]:
        """Describe each region on its own, in order.

        Raises:
            ToolError: The agent's code is at fault, or its budget is used up.
            MaiaError: The describer failed for good.
        """
        ...

    async def summarize(self, regions: Sequence[Region], call: Call) -> str:
        """Say what regions have in common; raises as `describe`."""
        ...


@dataclass(frozen=True, slots=True)
class ServerDescriber:
    """The description server."""

    client: DescriptionClient

    async def describe(self, regions: Sequence[Region], call: Call) -> list[str]:
        """See `Describer`."""
        return await self.client.describe(regions, call.terms)

    async def summarize(self, regions: Sequence[Region], call: Call) -> str:
        """See `Describer`."""
        return await self.client.summarize(regions, call.terms)

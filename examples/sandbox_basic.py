"""Untrusted code with two functions to call, a limit that it runs into, and variables that stay.

python examples/sandbox_basic.py
"""

from __future__ import annotations

import asyncio

from maia.sandbox import Limits, Sandbox, ToolError

CATALOGUE = {"Astra": (49.0, 800), "Borealis": (89.0, 1500), "Comet": (29.0, 450)}

BLOCKS = [
    # What a language model might write, block after block.
    "lamps = search_catalogue(max_price=60)\nprint(lamps)",
    "brightest = max(lamps, key=lumens)\nprint(brightest, lumens(brightest))",
    "lumens('Dynamo')",
    "while True: pass",
    "open('/etc/passwd')",
    "print('still here:', brightest)",
]


def search_catalogue(max_price: float) -> list[str]:
    """Names of the lamps that cost at most so much, in euros."""
    return [name for name, (price, _) in CATALOGUE.items() if price <= max_price]


async def lumens(name: str) -> int:
    """Luminous flux of a lamp."""
    if name not in CATALOGUE:
        raise ToolError(f"there is no lamp {name!r}; search_catalogue gives the names")
    return CATALOGUE[name][1]


async def main() -> None:
    """Run the blocks in one session."""
    async with Sandbox(tools=[search_catalogue, lumens], limits=Limits(wall_s=1, memory_mb=256)) as box:
        print("isolated by:", box.tier)
        for code in BLOCKS:
            outcome = await box.run(code)
            print(f"\n>>> {code}\n[{outcome.status.value}, variables {outcome.state.value}]")
            print(outcome.output, outcome.message, sep="")


if __name__ == "__main__":
    asyncio.run(main())

"""An agent with Anthropic's SDK. Its code runs in the sandbox, where it reaches two functions and nothing else.

ANTHROPIC_API_KEY=… python examples/sandbox_with_anthropic.py "Which lamp gives the most light for under 60 euros?"
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import anthropic
from anthropic.types import MessageParam, ToolParam, ToolResultBlockParam, ToolUseBlock

from maia.sandbox import Limits, SyncSandbox, ToolError, ToolSpec

MODEL = os.environ.get("MODEL", "claude-sonnet-5")
MOST_ROUNDS = 10
CATALOGUE = {"Astra": (49.0, 800), "Borealis": (89.0, 1500), "Comet": (29.0, 450)}


def search_catalogue(max_price: float) -> list[str]:
    """Names of the lamps that cost at most so much, in euros."""
    return [name for name, (price, _) in CATALOGUE.items() if price <= max_price]


def lumens(name: str) -> int:
    """Luminous flux of a lamp."""
    if name not in CATALOGUE:
        raise ToolError(f"there is no lamp {name!r}; search_catalogue gives the names")
    return CATALOGUE[name][1]


TOOLS: list[Callable[..., object]] = [search_catalogue, lumens]
API = "\n".join(f"{spec.name}{spec.signature}\n    {spec.doc}" for spec in (ToolSpec.of(tool) for tool in TOOLS))
PYTHON: ToolParam = {
    "name": "python",
    "description": f"Run Python and see what it prints. Variables stay. These functions can be called:\n\n{API}",
    "input_schema": {"type": "object", "properties": {"code": {"type": "string"}}, "required": ["code"]},
}


def run(box: SyncSandbox, call: ToolUseBlock) -> ToolResultBlockParam:
    """Run the code that the model wrote."""
    outcome = box.run(str(call.input.get("code", "")))
    seen = f"{outcome.output}{outcome.message}" or "(it printed nothing)"
    return {"type": "tool_result", "tool_use_id": call.id, "content": seen, "is_error": not outcome.ok}


def answer(question: str) -> str:
    """Let the model write and run code until it answers."""
    client = anthropic.Anthropic()
    messages: list[MessageParam] = [{"role": "user", "content": question}]
    with SyncSandbox(tools=TOOLS, limits=Limits(wall_s=10, memory_mb=512)) as box:
        for _ in range(MOST_ROUNDS):
            reply = client.messages.create(model=MODEL, max_tokens=4096, messages=messages, tools=[PYTHON])
            calls = [part for part in reply.content if part.type == "tool_use"]
            if not calls:
                return "".join(part.text for part in reply.content if part.type == "text")
            messages.append({"role": "assistant", "content": reply.content})
            messages.append({"role": "user", "content": [run(box, call) for call in calls]})
    return f"No answer within {MOST_ROUNDS} rounds."


if __name__ == "__main__":
    print(answer(" ".join(sys.argv[1:]) or "Which lamp gives the most light for under 60 euros?"))

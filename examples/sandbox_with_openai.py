"""An agent with OpenAI's SDK. Its code runs in the sandbox, where it reaches two functions and nothing else.

OPENAI_API_KEY=… python examples/sandbox_with_openai.py "Which lamp gives the most light for under 60 euros?"

OPENAI_BASE_URL names any other server that speaks Chat Completions.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import cast

import openai
from openai.types.chat import (
    ChatCompletionFunctionToolParam,
    ChatCompletionMessageFunctionToolCall,
    ChatCompletionMessageParam,
    ChatCompletionToolMessageParam,
)

from maia.sandbox import Limits, SyncSandbox, ToolError, ToolSpec

MODEL = os.environ.get("MODEL", "gpt-5.5")
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
PYTHON: ChatCompletionFunctionToolParam = {
    "type": "function",
    "function": {
        "name": "python",
        "description": f"Run Python and see what it prints. Variables stay. These functions can be called:\n\n{API}",
        "parameters": {
            "type": "object",
            "properties": {"code": {"type": "string"}},
            "required": ["code"],
            "additionalProperties": False,
        },
        "strict": True,
    },
}


def run(box: SyncSandbox, call: ChatCompletionMessageFunctionToolCall) -> ChatCompletionToolMessageParam:
    """Run the code that the model wrote."""
    outcome = box.run(json.loads(call.function.arguments)["code"])
    seen = f"{outcome.output}{outcome.message}" or "(it printed nothing)"
    return {"role": "tool", "tool_call_id": call.id, "content": seen}


def answer(question: str) -> str:
    """Let the model write and run code until it answers."""
    client = openai.OpenAI()
    messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": question}]
    with SyncSandbox(tools=TOOLS, limits=Limits(wall_s=10, memory_mb=512)) as box:
        for _ in range(MOST_ROUNDS):
            completion = client.chat.completions.create(model=MODEL, messages=messages, tools=[PYTHON])
            reply = completion.choices[0].message
            calls = [call for call in reply.tool_calls or [] if call.type == "function"]
            if not calls:
                return reply.content or ""
            messages.append(cast("ChatCompletionMessageParam", reply.to_dict()))
            messages += [run(box, call) for call in calls]
    return f"No answer within {MOST_ROUNDS} rounds."


if __name__ == "__main__":
    print(answer(" ".join(sys.argv[1:]) or "Which lamp gives the most light for under 60 euros?"))

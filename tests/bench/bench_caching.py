"""Input tokens billed over a run with the prompt cache against without, by a loopback vendor that bills prefixes.

The agent's own loop, system prompt and backbones send 25 rounds with 10 pictures each. The vendor counts the tokens of
each request and what of its prefix it has seen before; a token read from the cache counts a tenth, one written to
Anthropic's a quarter more. Both sides send the same requests, so old pictures give way on both where the model takes
fewer than the run shows.
"""

from __future__ import annotations

import asyncio
import io
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image
from pydantic import SecretStr
from tests.bench.table import show
from tests.unit.orchestrator.agents.billing import AnthropicBilling, Bill, OpenAIBilling
from tests.unit.orchestrator.agents.loopback import Answer, Request, loopback

from maia.orchestrator.agent import Agent
from maia.orchestrator.agents.models import facts_of
from maia.orchestrator.agents.registry import open_backbone
from maia.orchestrator.agents.rules import Vendor as Vendors
from maia.orchestrator.agents.rules import broken_rules
from maia.orchestrator.agents.settings import BackboneKeys, BackboneSettings
from maia.orchestrator.api_text import api_text
from maia.orchestrator.conversation import Part, Picture, Text
from maia.orchestrator.journal import JournalWriter
from maia.orchestrator.protocols import Shown
from maia.orchestrator.record import Record
from maia.orchestrator.tasks import load_task

ROUNDS: Final = 25
PICTURES: Final = 10
SIDE: Final = 512
_KEYS: Final = BackboneKeys(anthropic=SecretStr("key"), openai=SecretStr("key"))
_CODE: Final = "I test the hypothesis.\n```python\n" + "x = 1  # an experiment of ordinary length\n" * 25 + "```"
_END: Final = "[DESCRIPTION]: It likes red.\n[LABEL 1]: red"


@dataclass
class Showing:
    """A workbench whose every block prints a little and shows ten pictures with titles."""

    record: Record
    made: int = 0

    async def run(self, number: int, code: str) -> Shown:
        parts: list[Part] = []
        for _ in range(PICTURES):
            self.made += 1
            picture = _picture(self.made)
            self.record.image_ids[picture.sha256] = f"img-bench-{self.made}"
            parts += [Text(f"activation {self.made}: 3.14"), picture]
        return Shown((Text("the results\n" * 20), *parts), ok=True)


@dataclass
class Vendor:
    """Bills each request and answers with code, at last with a conclusion."""

    name: str
    most_pictures: int
    billing: AnthropicBilling | OpenAIBilling
    bills: list[Bill] = field(default_factory=list)
    most_sent: int = 0

    def answer(self, request: Request) -> Answer:
        body = request.json
        vendor: Vendors = "anthropic" if isinstance(self.billing, AnthropicBilling) else "openai"
        assert broken_rules(vendor, body, pictures=self.most_pictures) == []
        blocks = [
            block
            for message in body["messages"]
            if isinstance(message["content"], list)
            for block in message["content"]
        ]
        self.most_sent = max(self.most_sent, sum(block["type"] != "text" for block in blocks))
        self.bills.append(self.billing.bill(body))
        text = _CODE if len(self.bills) <= ROUNDS else _END
        usage = self.billing.usage(self.bills[-1])
        if vendor == "anthropic":
            content = [{"type": "text", "text": text}]
            return Answer.of({"model": self.name, "content": content, "stop_reason": "end_turn", "usage": usage})
        choices = [{"message": {"content": text}, "finish_reason": "stop"}]
        return Answer.of({"model": self.name, "choices": choices, "usage": usage})


def main() -> None:
    """Print the figures."""
    show([asyncio.run(_figure(name)) for name in ("claude-opus-5-5", "gpt-5.1", "claude-haiku-4-5")])


async def _figure(name: str) -> tuple[str, str, str]:
    facts, settings = facts_of(name), BackboneSettings()
    assert facts.pictures is not None
    billing = AnthropicBilling() if name.startswith("claude") else OpenAIBilling()
    vendor = Vendor(name, facts.pictures, billing)
    async with loopback() as server:
        server.answers.append(vendor.answer)
        url = server.url if name.startswith("claude") else f"{server.url}/v1"
        backbone = open_backbone(name, keys=_KEYS, base_url=url, settings=settings)
        task = load_task("neuron_description")
        system = task.system_prompt(api=api_text(), prompt_guide="", instruction_guide="")
        with tempfile.TemporaryDirectory() as folder, JournalWriter(Path(folder)) as journal:
            record = Record(journal)
            limits = facts.limits(reply_tokens=settings.max_tokens)
            await Agent(backbone, Showing(record), record, task, system, ROUNDS, limits=limits).run()
        await backbone.aclose()
    assert len(vendor.bills) == ROUNDS + 1
    billed, without = sum(bill.weighted for bill in vendor.bills), sum(bill.tokens for bill in vendor.bills)
    what = f"{name}, at most {vendor.most_sent} of {facts.pictures} pictures a request: input with caching / without"
    return what, "≤ 1/4", f"{billed / without:.3f} ({billed:,.0f} / {without:,.0f} tokens)"


def _picture(number: int) -> Picture:
    file = io.BytesIO()
    colour = (number % 256, number // 256, 90)
    Image.fromarray(np.full((SIDE, SIDE, 3), colour, np.uint8)).save(file, format="PNG")
    return Picture(file.getvalue(), "image/png", SIDE, SIDE)
